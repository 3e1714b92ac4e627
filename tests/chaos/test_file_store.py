"""One broker on a directory under load: its lock stands in for an election."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from osqueue_service.clock import SystemClock
from osqueue_service.ids import SystemIds
from osqueue_service.storage.file import FileStore
from tests.chaos.aftermath import complaints_without_a_witness
from tests.chaos.bell import Bell
from tests.chaos.cluster import INTERVAL_MS, TIMEOUT_MS
from tests.chaos.load import Load
from tests.chaos.processes import BrokerProcess
from tests.servers import free_ports

RESTART_S_MAX = 10.0
"""From kill -9 to the first answer of the broker started next: mostly the start of a process, on a busy machine."""


@pytest.fixture
def broker(folder: Path) -> BrokerProcess:
    return _broker(folder, "broker")


def _broker(folder: Path, name: str) -> BrokerProcess:
    variables = {
        "STORAGE_BACKEND": "file",
        "OSQUEUE_DATA_DIR": str(folder / "queue"),
        "BROKER_HEARTBEAT_INTERVAL_MS": str(INTERVAL_MS),
        "BROKER_HEARTBEAT_TIMEOUT_MS": str(TIMEOUT_MS),
    }
    return BrokerProcess(name, free_ports(1)[0], variables, folder, Bell())


@pytest.fixture
async def load(broker: BrokerProcess, folder: Path, seed: int) -> AsyncIterator[Load]:
    print(f"seed {seed}, history and logs in {folder}")
    await broker.start()
    await broker.until_said("leading epoch 1")
    try:
        async with Load([broker.address], broker.bell, random.Random(seed)) as load:
            await load.flow(100, 20)
            yield load
        load.history.dump(folder / "history.jsonl")
    finally:
        await broker.close()


async def _judge(broker: BrokerProcess, load: Load, folder: Path) -> None:
    await load.drain(40)
    await broker.signal(signal.SIGTERM)
    assert await broker.ended() == 0
    store = FileStore.open(folder / "queue", clock=SystemClock(), ids=SystemIds(), read_only=True)
    try:
        wrong = await complaints_without_a_witness(load.history, store)
    finally:
        await store.close()
    assert not wrong, "\n".join(wrong[:10])


async def test_a_killed_broker_is_started_again(broker: BrokerProcess, load: Load, folder: Path) -> None:
    for epoch in (1, 2, 3):
        await load.flow(load.rng.randint(50, 300), 20)
        await broker.kill()
        await broker.start()
        await load.flow(100, 20, epoch=epoch + 1)
        assert load.silence_s(epoch, broker.killed_s) < RESTART_S_MAX
    await _judge(broker, load, folder)


async def test_a_paused_broker_goes_on_and_nobody_takes_its_place(
    broker: BrokerProcess, load: Load, folder: Path
) -> None:
    await broker.signal(signal.SIGSTOP)
    asleep_s = time.monotonic()
    rival = _broker(folder, "rival")
    await rival.start()
    assert await rival.ended() == 2
    assert f"{broker.address}" in rival.messages()[-1]
    await asyncio.sleep(max(0.0, asleep_s + 3 * TIMEOUT_MS / 1_000 - time.monotonic()))  # three timeouts in all
    await broker.signal(signal.SIGCONT)
    await load.flow(200, 20, epoch=1)
    assert broker.led() == [1]
    await _judge(broker, load, folder)
