"""Settings as flags: each has an effect, or is refused by its name."""

import click
import pytest
from click.testing import CliRunner

from osqueue_cli.settings import settings_options
from osqueue_service.config import known_settings
from osqueue_service.errors import ConfigError
from osqueue_service.storage.backends import BACKENDS

FLAGS = {each.flag: each.name for backend in BACKENDS.values() for each in backend.settings}


def overrides(*arguments: str, default: str = "memory", env: dict[str, str] | None = None) -> dict[str, str]:
    """What a command with these flags is given."""
    given: dict[str, str] = {}
    command = click.command()(settings_options(storage_default=default)(lambda overrides: given.update(overrides)))
    result = CliRunner().invoke(command, arguments, env=env)
    if result.exception is not None:
        raise result.exception
    return given


@pytest.mark.parametrize("flag", [*FLAGS, "warm-standby"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_flag_has_an_effect_or_is_refused(flag, backend):
    own = {each.flag for each in BACKENDS[backend].settings} | ({"warm-standby"} if BACKENDS[backend].shared else set())
    arguments = ("--storage-backend", backend, f"--{flag}", "0")
    if flag in own:
        assert overrides(*arguments)
    else:
        with pytest.raises(ConfigError, match=f"--{flag} has no effect with STORAGE_BACKEND={backend}"):
            overrides(*arguments)


@pytest.mark.parametrize("given", [{"arguments": ("--data-dir", "q")}, {"env": {"OSQUEUE_DATA_DIR": "q"}}])
def test_a_directory_is_used_though_no_backend_was_chosen(given):
    said = overrides(*given.get("arguments", ()), env=given.get("env"))
    assert (said["STORAGE_BACKEND"], said["OSQUEUE_DATA_DIR"]) == ("file", "q")


def test_a_bucket_alone_is_not_enough():
    with pytest.raises(ConfigError, match="STORAGE_BACKEND=s3"):
        overrides("--s3-bucket", "jobs")
    with pytest.raises(ConfigError, match="--s3-bucket has no effect with STORAGE_BACKEND=file"):
        overrides("--s3-bucket", "jobs", default="file")


def test_what_lies_in_the_environment_for_others_is_no_error():
    assert overrides(default="file", env={"S3_BUCKET": "jobs"})["STORAGE_BACKEND"] == "file"


def test_defaults_hold_where_nothing_is_said():
    assert overrides()["STORAGE_BACKEND"] == "memory"
    assert set(overrides()) <= set(known_settings())
