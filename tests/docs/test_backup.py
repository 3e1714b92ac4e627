"""docs/operations/backup.md as it is written: a broker at work is copied, checkpoints and clean-ups included."""

import asyncio
import os
import re
import sys
from datetime import datetime
from pathlib import Path

import pytest

from osqueue import JobStatus, OsqueueClient, new_job
from osqueue_service.engine import checkpointing
from osqueue_service.leadership import term
from osqueue_service.testing.in_process import broker_in_process

PAGE = Path(__file__).parents[2] / "docs/operations/backup.md"
COPIES = 2
STATUSES: list[JobStatus] = ["unclaimed", "in_progress", "completed"]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """backup.sh, off the page."""
    (text,) = [block for block in blocks() if block.startswith("#!/bin/sh")]
    path = tmp_path / "backup.sh"
    path.write_text(text)
    return path


def blocks() -> list[str]:
    """What the page gives to the shell."""
    return re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def many_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that clean-ups fall into the copying."""
    monkeypatch.setattr(term, "CHECKPOINT_FLOOR_BYTES", 256 * 1024)
    monkeypatch.setattr(checkpointing, "changes_of", lambda state: state.counters.submitted * 1_000_000)


async def back_up(script: Path, source: Path, copy: Path, tools: str = "") -> str:
    """Run the script; what it said. `tools`: a folder of programs that come before the system's."""
    path = os.pathsep.join(filter(None, [tools, str(Path(sys.executable).parent), os.environ["PATH"]]))
    running = await asyncio.create_subprocess_exec(
        "sh", script, source, copy, env={**os.environ, "PATH": path},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await running.communicate()
    assert running.returncode == 0, said.decode()
    return said.decode()


async def work(client: OsqueueClient, acknowledged: list[str], finished: set[str]) -> None:
    """Submit, and finish every other job."""
    while True:
        handles = await client.submit_jobs([new_job("t", {"n": number}, retention_ms=600_000) for number in range(4)])
        acknowledged += [handle.id for handle in handles]
        for job in await client.claim_jobs("w", max_jobs=2):
            await client.complete_job(job)
            finished.add(job.job_id)


async def test_a_copy_has_all_that_was_acknowledged_before_and_leads(script: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    acknowledged: list[str] = []
    finished: set[str] = set()
    before: list[tuple[list[str], set[str]]] = []
    async with broker_in_process(data_dir=source) as broker, OsqueueClient(f"grpc://{broker.address}") as client:
        working = [asyncio.create_task(work(client, acknowledged, finished)) for _ in range(3)]
        for number in range(COPIES):
            taken = broker.broker.counters.checkpoints
            while broker.broker.counters.checkpoints < taken + 2:
                assert not any(each.done() for each in working)
                await asyncio.sleep(0.01)
            before.append((list(acknowledged), set(finished)))
            assert "sound" in await back_up(script, source, tmp_path / f"copy-{number}")
        assert broker.broker.counters.deletes > 0
        for each in working:
            each.cancel()
        await asyncio.wait(working)
    for number, (submitted, completed) in enumerate(before):
        async with (
            broker_in_process(data_dir=tmp_path / f"copy-{number}") as broker,
            OsqueueClient(f"grpc://{broker.address}") as client,
        ):
            walk = client.list_jobs(statuses=STATUSES, view="basic", page_size=1_000)
            there = {job.id: job.status async for job in walk}
            assert set(submitted) <= set(there), "what was acknowledged before the copying is in the copy"
            assert {there[job] for job in completed} <= {"completed"}
            assert await client.submit_job("t", {}), "and it takes new jobs"


HELD_CP = """#!/bin/sh
# Before the log is copied for the first time it waits for the test.
case "$*" in *-Rn*/log*)
    echo copied >> "{folder}/rounds"
    while [ ! -e "{folder}/go" ]; do sleep 0.05; done
esac
exec /bin/cp "$@"
"""


async def test_a_clean_up_between_checkpoint_and_log_costs_another_round(script: Path, tmp_path: Path) -> None:
    source, tools = tmp_path / "source", tmp_path / "tools"
    tools.mkdir()
    (tools / "cp").write_text(HELD_CP.format(folder=tmp_path))
    (tools / "cp").chmod(0o755)
    async with broker_in_process(data_dir=source) as broker, OsqueueClient(f"grpc://{broker.address}") as client:
        counters = broker.broker.counters
        working = asyncio.create_task(work(client, [], set()))
        copying = asyncio.create_task(back_up(script, source, tmp_path / "copy", str(tools)))
        while not (tmp_path / "rounds").exists():
            await asyncio.sleep(0.01)
        taken, deleted = counters.checkpoints, counters.deletes
        while counters.checkpoints < taken + 2 or counters.deletes == deleted:
            assert not working.done()
            await asyncio.sleep(0.01)
        working.cancel()
        await asyncio.wait([working])
        (tmp_path / "go").touch()
        assert "sound" in await copying
    assert len((tmp_path / "rounds").read_text().splitlines()) == 2


async def test_a_directory_that_is_not_in_use_is_copied_in_one_round(script: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    async with broker_in_process(data_dir=source) as broker, OsqueueClient(f"grpc://{broker.address}") as client:
        await client.submit_job("t", {})
    said = await back_up(script, source, tmp_path / "copy")
    assert said.count("verdict") == 1


PURGED = 10_000


async def test_purged_jobs_are_brought_back_and_the_queue_of_before_is_restored(tmp_path: Path) -> None:
    """The page's section on the way back in time, with another moment than 12:02:59."""
    source = tmp_path / "osqueue-data"
    async with (
        broker_in_process(data_dir=source, settings={"LOG_RETENTION": "1h"}) as broker,
        OsqueueClient(f"grpc://{broker.address}") as client,
    ):
        others = [(await client.submit_job("report", {"n": number})).id for number in range(3)]
        lost = []
        for first in range(0, PURGED, 1_000):
            specs = [new_job("mail", {"n": first + number}, retention_ms=600_000) for number in range(1_000)]
            lost += [handle.id for handle in await client.submit_jobs(specs)]
            await client.cancel_jobs(lost[-1_000:])
        moment = datetime.fromtimestamp(max(broker.broker.engine.now_ms(), 0) / 1_000).isoformat(
            timespec="milliseconds"
        )
        await asyncio.sleep(0.002)
        for first in range(0, PURGED, 1_000):
            await client.admin.purge(lost[first : first + 1_000])
        await client.cancel_job(others[0])
        environment = {"OSQUEUE_DATA_DIR": str(source), "BROKER_URL": f"grpc://{broker.address}"}
        for block in blocks():
            if not block.startswith("#!"):
                await run(block.replace("2026-11-30T12:02:59", moment), tmp_path, environment)
        removed = (tmp_path / "removed.txt").read_text().splitlines()
        assert {line.split()[1] for line in removed} == set(lost)
        back = [job async for job in client.list_jobs(types=["mail"], statuses=["unclaimed"], page_size=1_000)]
        assert sorted(job.value()["n"] for job in back) == list(range(PURGED))
    async with (
        broker_in_process(data_dir=tmp_path / "osqueue-data-1202") as broker,
        OsqueueClient(f"grpc://{broker.address}") as client,
    ):
        assert {job.id async for job in client.list_jobs(statuses=["cancelled"], page_size=1_000)} == set(lost)
        assert [job.id async for job in client.list_jobs(statuses=["unclaimed"])] == others


async def run(commands: str, folder: Path, environment: dict[str, str]) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    running = await asyncio.create_subprocess_exec(
        "sh", "-ec", commands, cwd=folder, env={**os.environ, **environment, "PATH": path},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await running.communicate()
    assert running.returncode == 0, said.decode()
