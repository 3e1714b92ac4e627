"""A broker's settings as flags: each environment variable has one, and the flag wins."""

import functools
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Any, TypeVar

import click

from osqueue_service.config import Settings

Command = TypeVar("Command", bound=Callable[..., Any])


def _flags() -> list["Field[Any]"]:
    return [each for each in fields(Settings) if each.name != "limits"]


def settings_options(*, storage_default: str, log_default: str = "info") -> Callable[[Command], Command]:
    """Flags for every setting: the parameter `overrides`, by the settings' names in the environment.

    `storage_default` and `log_default` hold where neither environment nor flag says otherwise.
    """
    defaults = {"storage_backend": storage_default, "log_level": log_default}

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_settings(**arguments: Any) -> Any:
            overrides = {}
            for each in _flags():
                value = arguments.pop(each.name) or defaults.get(each.name)
                if value is not None:
                    overrides[each.metadata["name"]] = value
            return command(overrides=overrides, **arguments)

        decorated: Any = with_settings
        for each in reversed(_flags()):
            decorated = _option(each, defaults.get(each.name, each.default))(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def _option(each: "Field[Any]", default: object) -> Callable[[Command], Command]:
    shown = "" if default in ("", None, False) else f"  [default: {default}]"
    return click.option(
        f"--{each.name.replace('_', '-')}", each.name, metavar="VALUE", help=f"{each.metadata['help']}{shown}",
        envvar=each.metadata["name"], show_envvar=True,
    )  # fmt: skip
