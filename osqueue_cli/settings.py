"""A broker's settings as flags: each environment variable has one, and the flag wins."""

import functools
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from osqueue_service.config import idle_settings, known_settings
from osqueue_service.errors import ConfigError
from osqueue_service.setting import Setting
from osqueue_service.storage.backends import BACKENDS, backend_named, implied_backend

Command = TypeVar("Command", bound=Callable[..., Any])


def storage_flags() -> list[str]:
    """Flags of the settings that say where a queue lies."""
    return ["storage-backend", *(each.flag for backend in BACKENDS.values() for each in backend.settings)]


def _settings(only: Collection[str], exclude: Collection[str]) -> list[Setting]:
    return [
        each
        for each in known_settings().values()
        if each.flag not in exclude and (not only or each.flag in only)
    ]  # fmt: skip


def settings_options(
    *, storage_default: str, log_default: str = "info", only: Collection[str] = (), exclude: Collection[str] = ()
) -> Callable[[Command], Command]:
    """Flags for every setting, or for some, chosen by their flags: the parameter `overrides`, by the settings' names in
    the environment.

    `storage_default` and `log_default` hold where neither environment nor flag says otherwise.
    """
    defaults = {"storage-backend": storage_default, "log-level": log_default}
    chosen = _settings(only, exclude)
    (backend,) = (each for each in chosen if each.flag == "storage-backend")

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_settings(**arguments: Any) -> Any:
            said = {each: arguments.pop(_parameter(each)) for each in chosen}
            overrides = {each.name: value for each, value in said.items() if value}
            for each in chosen:
                if each.name not in overrides and each.flag in defaults:
                    overrides[each.name] = defaults[each.flag]
            if not said[backend]:
                overrides[backend.name] = implied_backend(overrides, storage_default)
            _refuse_idle_flags(chosen, overrides[backend.name])
            return command(overrides=overrides, **arguments)

        decorated: Any = with_settings
        for each in reversed(chosen):
            decorated = _option(each, defaults.get(each.flag, each.default))(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def _refuse_idle_flags(chosen: Collection[Setting], backend: str) -> None:
    """Who writes a flag wants something of it. What lies in the environment may be meant for other commands."""
    source = click.get_current_context().get_parameter_source
    flags = {each.name: each.flag for each in chosen if source(_parameter(each)) is ParameterSource.COMMANDLINE}
    for name in idle_settings(flags, backend_named(backend)):
        raise ConfigError(f"{name}: --{flags[name]} has no effect with STORAGE_BACKEND={backend}")


def _parameter(setting: Setting) -> str:
    return setting.flag.replace("-", "_")


def _option(setting: Setting, default: object) -> Callable[[Command], Command]:
    shown = "" if default in ("", None, False) else f"  [default: {default}]"
    return click.option(
        f"--{setting.flag}", _parameter(setting), metavar="VALUE", help=f"{setting.help}{shown}",
        envvar=setting.name, show_envvar=True,
    )  # fmt: skip
