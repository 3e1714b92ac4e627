"""A broker's settings as flags: each environment variable has one, and the flag wins."""

import functools
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import click

from osqueue_service.config import known_settings
from osqueue_service.setting import Setting
from osqueue_service.storage.backends import BACKENDS

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

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_settings(**arguments: Any) -> Any:
            overrides = {}
            for each in chosen:
                value = arguments.pop(_parameter(each)) or defaults.get(each.flag)
                if value is not None:
                    overrides[each.name] = value
            return command(overrides=overrides, **arguments)

        decorated: Any = with_settings
        for each in reversed(chosen):
            decorated = _option(each, defaults.get(each.flag, each.default))(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def _parameter(setting: Setting) -> str:
    return setting.flag.replace("-", "_")


def _option(setting: Setting, default: object) -> Callable[[Command], Command]:
    shown = "" if default in ("", None, False) else f"  [default: {default}]"
    return click.option(
        f"--{setting.flag}", _parameter(setting), metavar="VALUE", help=f"{setting.help}{shown}",
        envvar=setting.name, show_envvar=True,
    )  # fmt: skip
