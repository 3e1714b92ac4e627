"""A broker's settings as flags: each environment variable has one, and the flag wins."""

import functools
from collections.abc import Callable, Collection
from dataclasses import Field, fields
from typing import Any, TypeVar

import click

from osqueue_service.config import Settings

Command = TypeVar("Command", bound=Callable[..., Any])


STORAGE = (
    "storage_backend",
    "data_dir",
    "s3_bucket",
    "s3_region",
    "s3_prefix",
    "s3_endpoint_url",
    "gcs_bucket",
    "gcs_prefix",
)
"""The settings that say where a queue lies."""


def _flags(only: Collection[str], exclude: Collection[str]) -> list["Field[Any]"]:
    return [
        each
        for each in fields(Settings)
        if each.name not in ("limits", *exclude) and (not only or each.name in only)
    ]  # fmt: skip


def settings_options(
    *, storage_default: str, log_default: str = "info", only: Collection[str] = (), exclude: Collection[str] = ()
) -> Callable[[Command], Command]:
    """Flags for every setting, or for some: the parameter `overrides`, by the settings' names in the environment.

    `storage_default` and `log_default` hold where neither environment nor flag says otherwise.
    """
    defaults = {"storage_backend": storage_default, "log_level": log_default}

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_settings(**arguments: Any) -> Any:
            overrides = {}
            for each in _flags(only, exclude):
                value = arguments.pop(each.name) or defaults.get(each.name)
                if value is not None:
                    overrides[each.metadata["name"]] = value
            return command(overrides=overrides, **arguments)

        decorated: Any = with_settings
        for each in reversed(_flags(only, exclude)):
            decorated = _option(each, defaults.get(each.name, each.default))(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def _option(each: "Field[Any]", default: object) -> Callable[[Command], Command]:
    shown = "" if default in ("", None, False) else f"  [default: {default}]"
    return click.option(
        f"--{each.name.replace('_', '-')}", each.name, metavar="VALUE", help=f"{each.metadata['help']}{shown}",
        envvar=each.metadata["name"], show_envvar=True,
    )  # fmt: skip
