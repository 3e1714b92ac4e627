"""A broker's settings as flags: each environment variable has one, and the flag wins."""

import functools
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Any, TypeVar

import click

from osqueue_service.config import Settings

Command = TypeVar("Command", bound=Callable[..., Any])

LIMIT_FORM = "NAME=N"


def _flags() -> list["Field[Any]"]:
    return [each for each in fields(Settings) if each.name != "limits"]


def settings_options(*, storage_default: str) -> Callable[[Command], Command]:
    """Flags for every setting: the parameter `overrides`, by the settings' names in the environment.

    `storage_default` is the backend where neither environment nor flag names one.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_settings(**arguments: Any) -> Any:
            overrides = {}
            for each in _flags():
                value = arguments.pop(each.name)
                if value is not None:
                    overrides[each.metadata["name"]] = value
            return command(overrides=overrides, **arguments)

        decorated: Any = with_settings
        for each in reversed(_flags()):
            decorated = _option(each, storage_default)(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def _option(each: "Field[Any]", storage_default: str) -> Callable[[Command], Command]:
    default = storage_default if each.name == "storage_backend" else each.default
    shown = "" if default in ("", None, False) else f"  [default: {default}]"
    return click.option(
        f"--{each.name.replace('_', '-')}", each.name, metavar="VALUE", help=f"{each.metadata['help']}{shown}",
        envvar=each.metadata["name"], show_envvar=True,
    )  # fmt: skip
