"""What being looked at costs: how long a scrape of 1,000 types holds the loop, and what counting costs each job."""

import asyncio
import socket
import sys
import time

from benchmarks.report import Report
from osqueue_service.engine.figures import Figures
from osqueue_service.engine.type_tallies import TypeTallies
from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.memory_policy import settle_memory
from osqueue_service.state.apply import apply
from osqueue_service.state.commands import Claim, Command, Complete, CompleteItem, Submit
from osqueue_service.state.machine import decide
from osqueue_service.state.model import JobSpec
from osqueue_service.state.moves import Moves
from osqueue_service.state.records import Founded
from osqueue_service.state.state import State
from osqueue_service.testing.in_process import broker_in_process

_TYPES = 1_000
_SCRAPES = 5
_BATCH = 100
_ROUNDS = 3_000
_CYCLE_US = 41
"""CPU of one full cycle in batches (docs/performance.md), the least of it."""

_SCRAPER = """
import sys, urllib.request
input()
for _ in range(int(sys.argv[2])):
    size = len(urllib.request.urlopen(sys.argv[1]).read())
print(size)
"""


class _Turns:
    """The longest turn of this loop, in CPU of its thread: what others on the machine do does not count."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            self.longest_s = max(self.longest_s, time.thread_time() - began)

    def stop(self) -> float:
        self._task.cancel()
        return self.longest_s


async def _scrape(report: Report) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"BROKER_METRICS_PORT": str(port), "OSQUEUE_LIMIT_METRIC_TYPES": str(_TYPES)}
    async with broker_in_process(settings=settings) as app:
        specs = [JobSpec(f"type-{number:04}", b"x") for number in range(_TYPES)]
        await app.broker.engine.execute(Submit(specs))
        page = ("-c", _SCRAPER, f"http://127.0.0.1:{port}/metrics", str(_SCRAPES))
        pipe = asyncio.subprocess.PIPE
        scraper = await asyncio.create_subprocess_exec(sys.executable, *page, stdin=pipe, stdout=pipe)
        settle_memory()  # as a broker does when it has loaded its queue
        turns = _Turns()  # only now: starting a process takes a long turn
        size, _ = await scraper.communicate(b"go\n")
        report.note(f"a page of {int(size):,} bytes")
        report.figure("longest turn of the loop while 1,000 types are scraped", turns.stop() * 1_000, "ms", at_most=5)


def _moves_of_a_cycle() -> list[list[Moves]]:
    """What a batch of jobs does from its submit to its completion."""
    state = State()
    state.moves = []
    apply(state, Founded("salt00"), 1)

    def do(command: Command, now_ms: int) -> object:
        records, answer = decide(state, command, now_ms, DEFAULT_LIMITS)
        for record in records:
            apply(state, record, now_ms)
        return answer

    cycle: list[list[Moves]] = []
    do(Submit([JobSpec("email", b"x")] * _BATCH), 1_000)
    cycle.append(state.moves)
    state.moves = []
    granted = do(Claim("w", max_jobs=_BATCH, tokens=[f"t{number}" for number in range(_BATCH)]), 2_000)
    assert isinstance(granted, list)
    do(Complete([CompleteItem(job.job_id, "w", job.token) for job in granted]), 3_000)
    cycle.append(state.moves)
    return cycle


class _NoTallies(TypeTallies):
    """Counts nothing by type."""

    def count(self, *_: object) -> None:  # type: ignore[override]
        pass


def _counting_us(tallies: TypeTallies, cycle: list[list[Moves]]) -> float:
    """The best of some rounds, for each job."""
    figures = Figures(lambda: 0, tallies)
    best = float("inf")
    for round_ in range(_ROUNDS):
        began = time.process_time()
        for moves in cycle:
            figures.follow(moves, 10_000 + round_)
        best = min(best, time.process_time() - began)
    return best / _BATCH * 1e6


def run(report: Report) -> None:
    """Measure both."""
    report.title("Metrics")
    asyncio.run(_scrape(report))
    cycle = _moves_of_a_cycle()
    with_types = _counting_us(TypeTallies(DEFAULT_LIMITS.metric_types, ()), cycle)
    without = _counting_us(_NoTallies(0, ()), cycle)
    report.figure("counting a job by its type, submit to completion", with_types - without, "us")
    report.figure("the same, of a job's CPU", (with_types - without) / _CYCLE_US * 100, "%", at_most=1)
