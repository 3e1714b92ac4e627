"""docs/operations/drills.md is played: what goes wrong raises the alert, and the command shows what the page says."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from click.testing import CliRunner

from osqueue import JobError, OsqueueClient
from osqueue_cli.cli import cli
from osqueue_service.app import App, build
from osqueue_service.config import Settings
from osqueue_service.errors import StoreDenied, StoreError, StoreFailed
from osqueue_service.storage.memory import MemoryBucket, MemoryStore
from osqueue_service.testing.in_process import broker_in_process
from scripts.tools import place
from tests.servers import REQUIRED

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operations/drills.md").read_text()
RULES = ROOT / "deploy/prometheus/rules.yaml"
PROMTOOL = place("prometheus") / "promtool"
MISSING = "promtool is not installed: run scripts/install_prometheus.sh"

SECTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")[1:]}


class Played(NamedTuple):
    """What a drill left: the metrics a minute apart, what a command said, and words that it must have said."""

    pages: list[str]
    said: str
    words: Sequence[str]


def commands(section: str) -> list[str]:
    return re.findall(r"^\$ osqueue (.+)$", SECTIONS[section], re.M)


async def run(command: str, app: App, **names: str) -> str:
    """The command as the page has it, with the names in capitals replaced."""
    words = [names.get(word, word) for word in command.split()]
    environment = {"BROKER_URL": f"grpc://{app.address}", "NO_COLOR": "1", "COLUMNS": "200"}
    done = await asyncio.to_thread(CliRunner().invoke, cli, words, env=environment)
    assert done.exit_code == 0, done.output
    return done.output


async def dead_letters_pile_up(folder: Path, section: str) -> Played:
    async with broker_in_process() as app, OsqueueClient(app.address) as client:
        pages = [app.metrics.render()]
        for _ in range(3):
            await client.submit_job("email", {}, max_attempts=1)
            job = await client.claim_job("w")
            assert job is not None
            await client.fail_job(job, JobError("SmtpDown", "connection refused"))
        pages.append(app.metrics.render())
        look, mend = commands(section)
        said = await run(look, app)
        await run(mend, app)
        assert (await client.get_stats()).counts.unclaimed == 3
        return Played(pages, said, ["SmtpDown", "3"])


async def a_type_has_no_worker(folder: Path, section: str) -> Played:
    async with broker_in_process() as app, OsqueueClient(app.address) as client:
        handles = [await client.submit_job("report", {}) for _ in range(12)]
        await client.submit_job("email", {})
        assert await client.claim_job("w", ["email"]) is not None
        (look,) = commands(section)
        return Played([app.metrics.render()], await run(look, app, JOB=handles[0].id), ["no worker"])


async def a_worker_is_stuck(folder: Path, section: str) -> Played:
    async with broker_in_process() as app, OsqueueClient(app.address) as client:
        pages = [app.metrics.render()]
        handle = await client.submit_job("email", {}, max_attempts=3)
        assert await client.claim_job("stuck-worker", lease_ms=100) is not None
        # It comes back when its lease has ended: the next claim waits for that.
        assert await client.claim_job("other", wait_ms=30_000) is not None
        pages.append(app.metrics.render())
        (look,) = commands(section)
        return Played(pages, await run(look, app, JOB=handle.id), ["stuck-worker", "expired"])


async def the_disk_is_full(folder: Path, section: str) -> Played:
    async with broker_in_process(data_dir=folder / "queue") as app, OsqueueClient(app.address) as client:
        await client.submit_job("email", {})
    look = [*commands(section)[0].split(), "--data-dir", str(folder / "queue")]
    shown = await asyncio.to_thread(CliRunner().invoke, cli, look)
    pages = await _refused(StoreFailed("no space left on device"), until='role="stopped"} 1')
    return Played(pages, shown.output, ["epoch"])


async def the_bucket_refuses(folder: Path, section: str) -> Played:
    return Played(await _refused(StoreDenied("they have expired"), until='put_if_absent",outcome="denied"} 1'), "", [])


async def _refused(error: StoreError, *, until: str) -> list[str]:
    """The metrics before and after the store refuses what is to be stored; `until` they say so."""
    store = FailingStore()
    async with broker_on(store) as app, OsqueueClient(app.address) as client:
        await client.submit_job("email", {})
        before = app.metrics.render()
        store.error = error
        waiting = asyncio.ensure_future(client.submit_job("email", {}))
        while until not in (after := app.metrics.render()):
            await asyncio.sleep(0.01)
        assert not waiting.done(), "nothing is acknowledged that is not stored"
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        store.error = None
    return [before, after]


async def a_leader_flaps(folder: Path, section: str) -> Played:
    pages = []
    for _ in range(5):
        async with broker_in_process(data_dir=folder / "queue") as app:
            pages.append(app.metrics.render())
    (look,) = commands(section)
    done = await asyncio.to_thread(CliRunner().invoke, cli, [*look.split(), "--data-dir", str(folder / "queue")])
    assert done.exit_code == 0, done.output
    return Played(pages, done.output, ["epoch", "5"])


class FailingStore(MemoryStore):
    """Refuses to store what is new, once it is told to."""

    def __init__(self) -> None:
        super().__init__(MemoryBucket())
        self.error: StoreError | None = None

    async def put_if_absent(self, key: str, body: bytes) -> str:
        if self.error is not None:
            raise self.error
        return await super().put_if_absent(key, body)


@asynccontextmanager
async def broker_on(store: MemoryStore) -> AsyncIterator[App]:
    settings = Settings.read({"BROKER_HOST": "127.0.0.1", "BROKER_GRPC_PORT": "0"})
    app = await build(settings, store=store, on_loaded=lambda: None)
    try:
        await app.start(stand_by=False)
        yield app
    finally:
        await app.stop()


DRILLS: dict[str, Callable[[Path, str], Awaitable[Played]]] = {
    "Dead letters pile up": dead_letters_pile_up,
    "A type has no worker": a_type_has_no_worker,
    "A worker is stuck": a_worker_is_stuck,
    "The disk is full": the_disk_is_full,
    "The bucket refuses": the_bucket_refuses,
    "A leader flaps": a_leader_flaps,
}


def firing(pages: list[str], folder: Path) -> set[str]:
    """The alerts that fire within half an hour of the last page."""
    values: dict[str, list[str]] = {}
    for number, page in enumerate(pages):
        for line in page.splitlines():
            if not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                values.setdefault(series, ["_"] * number).append(value)
    lines = [
        {"series": series, "values": " ".join([*found[:-1], f"{found[-1]}x40"])}
        for series, found in values.items()
        if "_bucket{" not in series
    ]
    alerts = [rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]]
    # promtool reports what is not as it was said to be: that nothing fires.
    silent = [
        {
            "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
            "eval_time": f"{minutes}m",
            "exp_samples": [{"labels": "{}", "value": 0}],
        }
        for alert in alerts
        for minutes in (3, 6, 30)
    ]
    case = {"interval": "1m", "input_series": lines, "promql_expr_test": silent}
    test = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case]}
    (folder / "drill.yaml").write_text(yaml.safe_dump(test, width=1_000_000))
    found = subprocess.run(
        [PROMTOOL, "test", "rules", folder / "drill.yaml"], capture_output=True, text=True, timeout=60
    )
    told = found.stdout + found.stderr
    assert found.returncode == 0 or "exp:" in told, told[-2_000:]
    return set(re.findall(r'alertname=\\*"(\w+)\\*"', told))


@pytest.mark.skipif(not PROMTOOL.exists() and not REQUIRED, reason=MISSING)
@pytest.mark.parametrize("section", DRILLS)
async def test_it_raises_its_alert_and_the_command_shows_why(section: str, tmp_path: Path) -> None:
    assert PROMTOOL.exists(), MISSING
    played = await DRILLS[section](tmp_path, section)
    named = re.findall(r"^Alert: `(\w+)`", SECTIONS[section], re.M)
    assert named and set(named) <= firing(played.pages, tmp_path)
    missing: list[Any] = [word for word in played.words if word not in played.said]
    assert not missing, played.said


def test_each_drill_of_the_page_is_played() -> None:
    assert set(SECTIONS) == set(DRILLS)
