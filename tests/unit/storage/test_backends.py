"""A store is one entry: whatever asks what stores there are learns of it from there."""

from pathlib import Path

import click
import grpc
import pytest
from click.testing import CliRunner

from osqueue_cli.checks import check_settings
from osqueue_cli.settings import settings_options
from osqueue_service.config import Settings, known_settings
from osqueue_service.errors import ConfigError
from osqueue_service.setting import Setting, line
from osqueue_service.storage.backends import BACKENDS, Backend, Opening, price_tables
from osqueue_service.storage.gcs import GcsStore
from osqueue_service.storage.memory import MemoryBucket, MemoryStore
from osqueue_service.storage.s3 import S3Store
from osqueue_service.storage.store import ExclusiveStore, ObjectStore, StoredObject
from osqueue_service.storage.usage import PriceTable
from osqueue_service.testing.in_process import broker_in_process
from osqueue_stubs.osqueue.v1 import admin_pb2, admin_pb2_grpc, queue_pb2_grpc
from tests.calls import submit

DRAWERS: dict[str, MemoryBucket] = {}


class Cabinet:
    """A fourth kind of store, which brokers share."""

    def __init__(self, drawer: str) -> None:
        self._papers = MemoryStore(DRAWERS.setdefault(drawer, MemoryBucket()))
        self.description = f"cabinet://{drawer}"

    async def read(self, key: str) -> StoredObject | None:
        return await self._papers.read(key)

    async def put_if_absent(self, key: str, body: bytes) -> str:
        return await self._papers.put_if_absent(key, body)

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        return await self._papers.put_if_version(key, body, version)

    async def list_after(self, prefix: str, after: str, limit: int) -> list[str]:
        return list(await self._papers.list_after(prefix, after, limit))

    async def delete(self, key: str) -> None:
        await self._papers.delete(key)

    async def close(self) -> None:
        await self._papers.close()


def open_cabinet(opening: Opening) -> ObjectStore:
    return Cabinet(opening.values["CABINET_DRAWER"])


@pytest.fixture
def cabinet(monkeypatch: pytest.MonkeyPatch) -> Backend:
    DRAWERS.clear()
    drawer = Setting(name="CABINET_DRAWER", flag="cabinet-drawer", default="", parse=line, help="Which.", required=True)
    backend = Backend("cabinet", "Steel.", (drawer,), open_cabinet, {"cabinet": PriceTable(put=7)}, package="steel")
    monkeypatch.setitem(BACKENDS, "cabinet", backend)
    return backend


async def test_a_broker_runs_on_a_fourth_one(cabinet: Backend) -> None:
    settings = {"STORAGE_BACKEND": "cabinet", "CABINET_DRAWER": "top"}
    for expected in (1, 2):
        async with (
            broker_in_process(settings=settings) as app,
            grpc.aio.insecure_channel(app.address) as channel,
        ):
            await submit(queue_pb2_grpc.QueueServiceStub(channel))
            stats = await admin_pb2_grpc.AdminServiceStub(channel).GetStorageStats(admin_pb2.GetStorageStatsRequest())
            assert (stats.backend, stats.location) == ("cabinet", "cabinet://top")
            assert stats.cost.requests > 0
            assert app.broker.engine.views.totals.live == expected
    assert DRAWERS["top"].keys_after("", "", 1)


def test_its_settings_are_read_and_required(cabinet: Backend) -> None:
    with pytest.raises(ConfigError, match="CABINET_DRAWER: is required with STORAGE_BACKEND=cabinet"):
        Settings.read({"STORAGE_BACKEND": "cabinet"})
    with pytest.raises(ConfigError, match=r"^CABINET_DRAWER: "):
        Settings.read({"CABINET_DRAWER": "a\nb"})
    assert "one of memory, file, s3, gcs, cabinet" in str(_refusal({"STORAGE_BACKEND": "box"}))
    assert "cabinet" in str(_refusal({"OSQUEUE_STORAGE_PRICES": "r3"}))


def test_the_command_line_has_its_flags(cabinet: Backend) -> None:
    command = click.command()(settings_options(storage_default="cabinet")(lambda overrides: click.echo(str(overrides))))
    runner = CliRunner()
    assert "--cabinet-drawer" in runner.invoke(command, ["--help"]).output
    said = runner.invoke(command, ["--cabinet-drawer", "top"]).output
    assert "'CABINET_DRAWER': 'top'" in said and "'STORAGE_BACKEND': 'cabinet'" in said


def test_doctor_knows_what_it_needs(cabinet: Backend) -> None:
    settings = Settings(storage_backend="cabinet", store={"CABINET_DRAWER": "top"})
    found = [check.found for check in check_settings(settings, [])]
    assert "cabinet needs steel" in found


def test_names_of_settings_flags_and_price_tables_are_unique() -> None:
    settings = [each for backend in BACKENDS.values() for each in backend.settings]
    assert len({each.name for each in settings}) == len(settings)
    flags = [each.flag for each in known_settings().values()]
    assert len(set(flags)) == len(flags)
    tables = [name for backend in BACKENDS.values() for name in backend.prices]
    assert len(price_tables()) == len(tables) + 1


def test_what_is_not_shared_has_one_owner_and_what_is_shared_has_none(tmp_path: Path) -> None:
    from osqueue_service.clock import SystemClock
    from osqueue_service.ids import SystemIds

    for backend in BACKENDS.values():
        if not backend.shared:
            values = {each.name: str(tmp_path / "queue") for each in backend.settings}
            store = backend.open(Opening(values, SystemClock(), SystemIds(), threads=1, read_only=False))
            assert isinstance(store, ExclusiveStore)
    assert not issubclass(S3Store, ExclusiveStore) and not issubclass(GcsStore, ExclusiveStore)


def _refusal(environment: dict[str, str]) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        Settings.read(environment)
    return raised.value
