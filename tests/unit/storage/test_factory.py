"""Settings become a store, or an error that names the setting."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from osqueue_service.clock import SystemClock
from osqueue_service.errors import ConfigError
from osqueue_service.ids import SystemIds
from osqueue_service.storage.factory import OpenedStore, StoreSettings, open_store
from osqueue_service.storage.operations import Operation
from osqueue_service.storage.throttled import ThrottleLimits
from osqueue_service.storage.usage import PRICES


def open_with(settings: StoreSettings) -> OpenedStore:
    return open_store(settings, SystemClock(), SystemIds())


async def test_memory_is_counted_and_not_throttled_without_limits() -> None:
    opened = open_with(StoreSettings("memory", prices=PRICES["s3"]))
    await opened.store.put_if_absent("a", b"x")
    assert opened.store.description == "memory"
    assert opened.usage.operations[Operation.PUT_IF_ABSENT].requests == 1
    assert opened.usage.cost == 5 / 1_000_000
    assert opened.throttle is None
    assert opened.file is None
    await opened.store.close()


async def test_file_can_be_owned(tmp_path: Path) -> None:
    opened = open_with(StoreSettings("file", data_dir=tmp_path, limits=ThrottleLimits(writes_per_day=1)))
    assert opened.file is not None
    opened.file.acquire_ownership("127.0.0.1:8081")
    assert opened.file.owned
    await opened.store.put_if_absent("a", b"x")
    assert opened.throttle is not None
    assert opened.throttle.stats.daily_budget_exceeded
    assert opened.usage.requests == 1
    await opened.store.close()
    assert not opened.file.owned


async def test_a_directory_can_be_opened_for_reading_only(tmp_path: Path) -> None:
    settings = StoreSettings("file", data_dir=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no osqueue store"):
        open_store(settings, SystemClock(), SystemIds(), read_only=True)
    assert os.listdir(tmp_path) == []


async def test_cloud_backends_say_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = "http://127.0.0.1:1"
    s3 = open_with(StoreSettings("s3", bucket="b", prefix="p/", endpoint_url=endpoint))
    assert s3.store.description == f"s3://b/p/ at {endpoint}"
    gcs = open_with(StoreSettings("gcs", bucket="b", prefix="p/", endpoint_url=endpoint))
    assert gcs.store.description == f"gs://b/p/ at {endpoint}"
    await s3.store.close()
    await gcs.store.close()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"backend": "azure"}, "STORAGE_BACKEND"),
        ({"backend": ""}, "STORAGE_BACKEND"),
        ({"backend": "s3"}, "S3_BUCKET"),
        ({"backend": "gcs"}, "GCS_BUCKET"),
        ({"backend": "file"}, "OSQUEUE_DATA_DIR"),
        ({"backend": "s3", "bucket": "b", "prefix": "/p"}, "S3_PREFIX"),
        ({"backend": "s3", "bucket": "b", "prefix": "p\n"}, "S3_PREFIX"),
        ({"backend": "gcs", "bucket": "b", "prefix": "p" * 401}, "GCS_PREFIX"),
        ({"backend": "s3", "bucket": "b", "endpoint_url": "localhost:9000"}, "S3_ENDPOINT_URL"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=f"^{named}:"):
        StoreSettings(**settings)


@pytest.mark.parametrize(("backend", "package"), [("s3", "boto3"), ("gcs", "google.cloud.storage")])
def test_a_missing_extra_is_named(backend: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, f"osqueue_service.storage.{backend}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"osqueue\[{backend}\]"):
        open_with(StoreSettings(backend, bucket="b"))


def test_opening_other_backends_loads_no_cloud_sdk() -> None:

    program = (
        "import sys, osqueue_service.storage.factory as f, osqueue_service.storage.selftest; "
        "from osqueue_service.clock import SystemClock; from osqueue_service.ids import SystemIds; "
        "f.open_store(f.StoreSettings('memory'), SystemClock(), SystemIds()); "
        "sys.exit(any(name.split('.')[0] in ('boto3', 'botocore', 'google') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3]).returncode == 0
