"""Settings become a store, or an error that names the setting."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from osqueue_service.clock import SystemClock
from osqueue_service.config import Settings
from osqueue_service.errors import ConfigError
from osqueue_service.ids import SystemIds
from osqueue_service.storage.backends import BACKENDS, PREFIX_CHARACTERS_MAX, price_tables
from osqueue_service.storage.factory import OpenedStore, StoreSettings, open_store
from osqueue_service.storage.file import FileStore
from osqueue_service.storage.operations import Operation
from osqueue_service.storage.throttled import ThrottleLimits


def open_with(settings: StoreSettings) -> OpenedStore:
    return open_store(settings, SystemClock(), SystemIds())


async def test_memory_is_counted_and_not_throttled_without_limits() -> None:
    opened = open_with(StoreSettings(BACKENDS["memory"], prices=price_tables()["s3"]))
    await opened.store.put_if_absent("a", b"x")
    assert opened.store.description == "memory"
    assert opened.usage.operations[Operation.PUT_IF_ABSENT].requests == 1
    assert opened.usage.cost == 5 / 1_000_000
    assert opened.throttle is None
    assert opened.exclusive is not None
    assert opened.timed is None, "its clock is this machine's"
    await opened.store.close()


async def test_file_can_be_owned(tmp_path: Path) -> None:
    opened = open_with(
        StoreSettings(BACKENDS["file"], {"OSQUEUE_DATA_DIR": str(tmp_path)}, limits=ThrottleLimits(writes_per_day=1))
    )
    assert isinstance(opened.exclusive, FileStore)
    opened.exclusive.own("127.0.0.1:8081")
    assert opened.exclusive.owned
    await opened.store.put_if_absent("a", b"x")
    assert opened.throttle is not None
    assert opened.throttle.stats.daily_budget_exceeded
    assert opened.usage.requests() == 1
    await opened.store.close()
    assert not opened.exclusive.owned


async def test_a_directory_can_be_opened_for_reading_only(tmp_path: Path) -> None:
    settings = StoreSettings(BACKENDS["file"], {"OSQUEUE_DATA_DIR": str(tmp_path / "nowhere")})
    with pytest.raises(ConfigError, match="there is no osqueue store"):
        open_store(settings, SystemClock(), SystemIds(), read_only=True)
    assert os.listdir(tmp_path) == []


async def test_cloud_backends_say_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = "http://127.0.0.1:1"
    s3 = open_with(StoreSettings(BACKENDS["s3"], {"S3_BUCKET": "b", "S3_PREFIX": "p/", "S3_ENDPOINT_URL": endpoint}))
    assert s3.store.description == f"s3://b/p/ at {endpoint}"
    gcs = open_with(
        StoreSettings(BACKENDS["gcs"], {"GCS_BUCKET": "b", "GCS_PREFIX": "p/", "STORAGE_EMULATOR_HOST": endpoint})
    )
    assert gcs.store.description == f"gs://b/p/ at {endpoint}"
    assert (s3.kind, gcs.kind) == ("s3", "gcs")
    await s3.store.close()
    await gcs.store.close()


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"STORAGE_BACKEND": "azure"}, "STORAGE_BACKEND"),
        ({"STORAGE_BACKEND": "s3"}, "S3_BUCKET"),
        ({"STORAGE_BACKEND": "gcs"}, "GCS_BUCKET"),
        ({"STORAGE_BACKEND": "s3", "S3_BUCKET": "b", "S3_PREFIX": "/p"}, "S3_PREFIX"),
        ({"STORAGE_BACKEND": "s3", "S3_BUCKET": "b", "S3_PREFIX": "p\np"}, "S3_PREFIX"),
        ({"STORAGE_BACKEND": "gcs", "GCS_BUCKET": "b", "GCS_PREFIX": "p" * 401}, "GCS_PREFIX"),
        ({"STORAGE_BACKEND": "s3", "S3_BUCKET": "b", "S3_ENDPOINT_URL": "localhost:9000"}, "S3_ENDPOINT_URL"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(environment: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=f"^{named}:"):
        Settings.read(environment)


def test_a_prefix_may_be_as_long_as_the_limit() -> None:
    longest = "p" * PREFIX_CHARACTERS_MAX
    assert Settings.read({"S3_PREFIX": longest}).store == {"S3_PREFIX": longest}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"storage_backend": "azure"}, "STORAGE_BACKEND"),
        ({"storage_backend": "file", "store": {"OSQUEUE_DATA_DIR": ""}}, "OSQUEUE_DATA_DIR"),
    ],
)
def test_so_is_one_that_a_program_gives(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=f"^{named}:"):
        Settings(**settings)


@pytest.mark.parametrize(("backend", "package"), [("s3", "boto3"), ("gcs", "google.cloud.storage")])
def test_a_missing_extra_is_named(backend: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, f"osqueue_service.storage.{backend}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"osqueue\[{backend}\]"):
        open_with(StoreSettings(BACKENDS[backend], {f"{backend.upper()}_BUCKET": "b"}))


def test_opening_other_backends_loads_no_cloud_sdk() -> None:

    program = (
        "import sys, osqueue_service.storage.factory as f, osqueue_service.storage.selftest; "
        "from osqueue_service.storage.backends import BACKENDS; "
        "from osqueue_service.clock import SystemClock; from osqueue_service.ids import SystemIds; "
        "f.open_store(f.StoreSettings(BACKENDS['memory']), SystemClock(), SystemIds()); "
        "sys.exit(any(name.split('.')[0] in ('boto3', 'botocore', 'google') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3]).returncode == 0
