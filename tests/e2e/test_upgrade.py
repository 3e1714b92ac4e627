"""Two real releases in turns on one queue, under load and kill -9: the wheel of an earlier commit, and this tree."""

import asyncio
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from osqueue import OsqueueClient
from osqueue_cli.processes import Children, free_ports, serving, start_broker
from scripts import build_earlier_wheel
from tests.e2e.test_kill9 import PRODUCERS, START_LIMIT_S, WORKERS, History, check, produce, work

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
TURNS = 4


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where each of the two releases lies, unpacked from its wheel."""
    built = tmp_path_factory.mktemp("releases")
    wheels = {"earlier": built_by(build_earlier_wheel.build, built / "a"), "this": built / "b"}
    build_earlier_wheel.build_wheel(ROOT, wheels["this"])
    (wheels["this"],) = wheels["this"].glob("*.whl")
    for name, wheel in wheels.items():
        zipfile.ZipFile(wheel).extractall(built / name)
        place = "import osqueue_service; print(osqueue_service.__file__)"
        shown = subprocess.run(
            [sys.executable, "-c", place], cwd=built / name, check=True, capture_output=True, text=True
        )
        assert shown.stdout.startswith(str(built / name)), "another release answers to this name"
    return {name: built / name for name in wheels}


def built_by(build: object, directory: Path) -> Path:
    try:
        wheel: Path = build(directory)  # type: ignore[operator]
    except subprocess.CalledProcessError:
        pytest.skip("the commit in scripts/earlier_release.txt is not in this clone's history: fetch it")
    return wheel


@pytest.mark.parametrize("first", ["earlier", "this"])
async def test_two_releases_lead_in_turns(first, releases, tmp_path, monkeypatch):
    rng = random.Random(first)
    history, enough = History(), asyncio.Event()
    (port,) = free_ports(1)
    url = f"grpc://127.0.0.1:{port}"
    order = ["earlier", "this"] if first == "earlier" else ["this", "earlier"]

    async with Children(tmp_path / "logs") as children:

        async def lead(turn: int):
            monkeypatch.chdir(releases[order[turn % 2]])  # from where a child takes its packages
            broker = await start_broker(children, tmp_path / "queue", port)
            await serving(url, broker, START_LIMIT_S)
            return broker

        broker = await lead(0)
        async with OsqueueClient(url) as producer, OsqueueClient(url) as claimer, asyncio.TaskGroup() as group:
            producing = [group.create_task(produce(producer, history, rng, enough)) for _ in range(PRODUCERS)]
            working = [group.create_task(work(claimer, f"w{n}", history, rng)) for n in range(WORKERS)]
            for turn in range(1, TURNS):
                await history.grow(rng.randint(100, 300))
                await broker.kill()
                broker = await lead(turn)
            await history.grow(100)
            enough.set()
            await asyncio.gather(*producing)
            for job_id in history.submitted:
                await producer.wait_job(job_id)
            for task in working:
                task.cancel()

        async with OsqueueClient(url) as client:
            await check(client, history)
