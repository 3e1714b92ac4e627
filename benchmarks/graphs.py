"""CPU in the core of what one end lets run, of members of batches, and of schedules, each beside the same without."""

import gc
import time
from collections.abc import Callable
from typing import Any

from benchmarks.report import Report
from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.state.apply import apply
from osqueue_service.state.batch_commands import OpenBatch
from osqueue_service.state.batches import BatchSpec
from osqueue_service.state.commands import (
    Claim,
    Command,
    Complete,
    CompleteItem,
    Node,
    NodeNeed,
    PutSchedule,
    Submit,
    SubmitWorkflow,
    Sweep,
)
from osqueue_service.state.machine import decide, decide_effects, effects_of
from osqueue_service.state.model import JobSpec, MoreOfSpec
from osqueue_service.state.needs import Policy
from osqueue_service.state.records import Founded
from osqueue_service.state.schedules import Overlap, ScheduleSpec
from osqueue_service.state.state import State

_CHILDREN = 999
_MEMBERS = 20_000
_FEW, _MANY = 10, 100_000
_FIRED = 5_000
_TICKS = 20_000
_EVERY_MS = 24 * 3_600_000
_ROUNDS = 5


class _Queue:
    """A state and its clock; effects follow in commits of their usual bound."""

    def __init__(self) -> None:
        self.state = State()
        self.now_ms = 1_000
        self._claims = 0
        apply(self.state, Founded("salt00"), self.now_ms)

    def do(self, command: Command) -> Any:
        """One commit."""
        records, answer = decide(self.state, command, self.now_ms, DEFAULT_LIMITS)
        self._apply(records)
        left = DEFAULT_LIMITS.sweep_jobs
        while effects := decide_effects(self.state, DEFAULT_LIMITS, left):
            self._apply(effects)
            left -= effects_of(effects)
        return answer

    def _apply(self, records: list[Any]) -> None:
        for record in records:
            apply(self.state, record, self.now_ms)

    def run_one(self) -> float:
        """Claim and complete the next job; ms of CPU for the completion."""
        self._claims += 1
        (job,) = self.do(Claim("w", max_jobs=1, tokens=[f"t{self._claims}"]))
        began = time.process_time()
        self.do(Complete([CompleteItem(job.job_id, "w", job.token)]))
        return (time.process_time() - began) * 1e3


def _best(measure: Callable[[], float]) -> float:
    """The best of some rounds: what others do on the machine only ever adds."""
    found = []
    for _ in range(_ROUNDS):
        gc.collect()
        gc.disable()
        found.append(measure())
        gc.enable()
    return min(found)


def _submit_us(children: int) -> float:
    """To submit plain jobs, for each; what a child costs is told as a multiple of it."""
    queue = _Queue()
    began = time.process_time()
    queue.do(Submit([JobSpec("t", b"x")] * children))
    return (time.process_time() - began) / children * 1e6


def _workflow() -> _Queue:
    queue = _Queue()
    need = NodeNeed("parent", Policy.CASCADE, Policy.CASCADE, False)
    children = [Node(f"n{number}", JobSpec("t", b"x"), [need]) for number in range(_CHILDREN)]
    queue.do(SubmitWorkflow("w", [Node("parent", JobSpec("t", b"x"), []), *children]))
    return queue


def _graph_us() -> float:
    began = time.process_time()
    _workflow()
    return (time.process_time() - began) / _CHILDREN * 1e6


def _release_ms() -> tuple[float, int]:
    """The longest commit from the end of a parent to the release of its last child, and how many there were."""
    queue = _workflow()
    longest, commits = queue.run_one(), 1
    while queue.state.graphs.fates:
        began = time.process_time()
        queue.do(Sweep(limit=DEFAULT_LIMITS.sweep_jobs))
        longest, commits = max(longest, (time.process_time() - began) * 1e3), commits + 1
    return longest, commits


def _members_us(batch: bool) -> float:
    """To claim and complete one of many jobs, members of a batch or not."""
    queue = _Queue()
    number = queue.do(OpenBatch(BatchSpec(seal_after_ms=_EVERY_MS, retention_ms=_EVERY_MS))).number
    more = MoreOfSpec(batch=number) if batch else None
    for _ in range(_MEMBERS // 1_000):
        queue.do(Submit([JobSpec("t", b"x", more=more)] * 1_000))
    began = time.process_time()
    for _ in range(_MEMBERS):
        queue.run_one()
    return (time.process_time() - began) / _MEMBERS * 1e6


def _scheduled(count: int, every_ms: int) -> _Queue:
    queue = _Queue()
    for number in range(count):
        spec = ScheduleSpec(JobSpec("report", b"{}"), every_ms=every_ms, anchor_at=2_000, overlap=Overlap.ALLOW_ALL)
        queue.do(PutSchedule(f"s{number}", spec))
    return queue


def _tick_us(count: int) -> float:
    """A sweep that finds nothing due."""
    queue = _scheduled(count, _EVERY_MS)
    began = time.process_time()
    for _ in range(_TICKS):
        queue.do(Sweep(limit=DEFAULT_LIMITS.sweep_jobs))
    return (time.process_time() - began) / _TICKS * 1e6


def _firing_us(count: int) -> float:
    """For each time that fires, ten at a time."""
    queue = _scheduled(count, 1_000 * count // _FEW)
    fired, spent = 0, 0.0
    queue.now_ms = 2_000
    while fired < _FIRED:
        began = time.process_time()
        queue.do(Sweep(limit=_FEW // 2))
        spent += time.process_time() - began
        tally = queue.state.schedules.tally.fired
        if tally == fired:
            queue.now_ms += 1_000
        fired = tally
    return spent / fired * 1e6


def run(report: Report) -> None:
    report.title("Workflows, batches and schedules in the core")
    plain, node = _best(lambda: _submit_us(1_000)), _best(_graph_us)
    report.figure("submit, for each job", plain, "us")
    report.figure("submit a workflow of 1,000, for each node", node, "us")
    report.figure("the same as a multiple", node / plain, "x")
    longest, commits = min(_release_ms() for _ in range(_ROUNDS))
    report.figure("999 children let run: the longest of the commits", longest, "ms", at_most=20.0)
    report.figure("commits that it takes", commits, "")
    alone, member = _best(lambda: _members_us(batch=False)), _best(lambda: _members_us(batch=True))
    report.figure("claim and complete, a job", alone, "us")
    report.figure("claim and complete, a member of a batch, as a multiple", member / alone, "x")
    few, many = _best(lambda: _tick_us(_FEW)), _tick_us(_MANY)
    report.figure(f"a tick, {_FEW} schedules of which none is due", few, "us")
    report.figure(f"the same of {_MANY:,}, as a multiple", many / few, "x", at_most=1.5)
    few, many = _best(lambda: _firing_us(_FEW)), _firing_us(_MANY)
    report.figure(f"a firing, {_FEW} schedules", few, "us")
    report.figure(f"the same of {_MANY:,}, as a multiple", many / few, "x", at_most=2.0)
