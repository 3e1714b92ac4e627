"""CPU of a claim and a completion in the core: without limits, under one, and beside 100,000 keys that have no room."""

import gc
import time
from typing import Any

from benchmarks.report import Report
from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.state.apply import apply
from osqueue_service.state.commands import Claim, Command, Complete, CompleteItem, PutLimit, Submit
from osqueue_service.state.machine import decide
from osqueue_service.state.model import JobSpec, LimitUse, MoreOfSpec
from osqueue_service.state.named_limits import NamedLimit
from osqueue_service.state.records import Founded
from osqueue_service.state.state import State

_KEYS = 100_000
_JOBS = 20_000
_ROUNDS = 5


class _Queue:
    """A state and its clock."""

    def __init__(self) -> None:
        self.state = State()
        self.now_ms = 1_000
        self._tokens = 0
        apply(self.state, Founded("salt00"), self.now_ms)

    def do(self, command: Command) -> Any:
        records, answer = decide(self.state, command, self.now_ms, DEFAULT_LIMITS)
        for record in records:
            apply(self.state, record, self.now_ms)
        return answer

    def submit(self, keys: list[str | None]) -> None:
        for start in range(0, len(keys), 1_000):
            self.do(Submit([_job(key) for key in keys[start : start + 1_000]]))

    def claim(self, count: int) -> Any:
        self._tokens += count
        return self.do(Claim("w", max_jobs=count, tokens=[f"t{self._tokens + n}" for n in range(count)]))

    def work(self, count: int) -> float:
        """Claim and complete `count` jobs, one at a time; µs of CPU for each."""
        began = time.process_time()
        for _ in range(count):
            (job,) = self.claim(1)
            self.do(Complete([CompleteItem(job.job_id, "w", job.token)]))
        return (time.process_time() - began) / count * 1e6


def _job(key: str | None) -> JobSpec:
    return JobSpec("t", b"x", more=MoreOfSpec(limits=(LimitUse("api", key),)) if key is not None else None)


def _measured(blocked: int, key: str | None) -> float:
    """The best of some rounds, beside `blocked` keys of each of which one job runs and one waits."""
    queue = _Queue()
    queue.do(PutLimit(NamedLimit("api", 1, per_key=True)))
    queue.submit([f"k{number}" for number in range(blocked)])
    for _ in range(blocked // 1_000):
        queue.claim(1_000)
    queue.submit([f"k{number}" for number in range(blocked)])
    assert queue.claim(1) == []
    best = float("inf")
    gc.collect()
    gc.disable()
    for _ in range(_ROUNDS):
        queue.submit([key] * _JOBS)
        best = min(best, queue.work(_JOBS))
    gc.enable()
    return best


def run(report: Report) -> None:
    report.title("Limits")
    plain, alone, beside = _measured(0, None), _measured(0, "open"), _measured(_KEYS, "open")
    report.figure("claim + complete in the core, no limits", plain, "µs")
    report.figure("the same under one limit", alone, "µs")
    report.figure(f"the same beside {_KEYS:,} keys without room", beside, "µs")
    report.figure("the third / the second", beside / alone, "x", at_most=1.1)
