"""The core against the naive model: every command, in any order, with every answer compared.

Runs twice: with one fixed seed, the same everywhere, and with a fresh one, which a failure
prints so that it can be repeated with OSQUEUE_PROPERTY_SEED.
"""

import os
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from msgspec import structs

from osqueue_service.errors import OsqueueError
from osqueue_service.limits import DAY_MS, DEFAULT_LIMITS, HOUR_MS, MINUTE_MS
from osqueue_service.state import image
from osqueue_service.state.commands import (
    Cancel,
    Complete,
    CompleteItem,
    Fail,
    FailItem,
    PauseTypes,
    Purge,
    Release,
    ReleaseItem,
    ResumeTypes,
    Retry,
    Sweep,
)
from osqueue_service.state.invariants import check
from osqueue_service.state.job_ids import JobIds
from osqueue_service.state.model import Ending, JobSpec, Status
from osqueue_service.state.settling import holder
from tests.core import SALT, Core, only
from tests.property.model import LIVE, Model

IDS = JobIds(SALT, 1)

LIMITS = replace(
    DEFAULT_LIMITS,
    jobs=12,
    bytes=100,
    idempotency_keys=3,
    request_ids=3,
    settled_tokens=4,
    history_attempts=3,
    finished_jobs=4,
    finished_bytes=40,
    dead_jobs=3,
    dead_bytes=200,
    promised_jobs=4,
    promised_bytes=30,
    kept_promises_bytes=50,
    default_max_attempts=2,
)

# Shrinking may take minutes: it is for the person who looks at a failure, not for CI.
PHASES = (Phase.generate, Phase.shrink) if os.environ.get("OSQUEUE_PROPERTY_SHRINK") else (Phase.generate,)

TYPES = ["", "a", "b"]
WORKERS = ["w1", "w2"]
DELAYS = [0, 10, 1_000]
TIMES = [1, 10, 1_000, MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, 14 * DAY_MS]

specs = st.builds(
    JobSpec,
    type=st.sampled_from(TYPES),
    payload=st.sampled_from([b"", b"1", b"22", b"x" * 30]),
    priority=st.sampled_from([0, 0, 3]),
    max_attempts=st.sampled_from([0, 1, 3]),
    timeout_ms=st.sampled_from([0, 0, 10, 1_000]),
    retention_ms=st.sampled_from([0, 0, 0, 10, HOUR_MS]),
    idempotency_key=st.sampled_from(["", "", "k1", "k2", "k3", "k4"]),
)


class CoreMachine(RuleBasedStateMachine):
    """Each rule gives one command to both, and compares what they answer."""

    @initialize()
    def begin(self) -> None:
        self.core = Core(LIMITS)
        self.model = Model(LIMITS)
        self.leases: list[tuple[int, str, str]] = []
        """Every lease there ever was: number, worker, token."""

    # --- the rules ---------------------------------------------------------------------------------------------------

    @rule(
        jobs=st.lists(specs, min_size=1, max_size=4),
        delay_ms=st.sampled_from(DELAYS),
        atomic=st.booleans(),
        request_id=st.sampled_from(["", "", "r1", "r2"]),
    )
    def submit(self, jobs: list[JobSpec], delay_ms: int, atomic: bool, request_id: str) -> None:
        now = self.core.now_ms
        if delay_ms:
            jobs = [structs.replace(job, run_at=now + delay_ms) for job in jobs]
        expected = self.model.submit(jobs, atomic, request_id, now)
        answers = answer_of(lambda: self.core.submit_specs(jobs, atomic=atomic, request_id=request_id))
        if isinstance(answers, list):
            answers = [
                type(answer) if isinstance(answer, OsqueueError) else (self.number(answer.job_id), answer.deduplicated)
                for answer in answers
            ]
        assert answers == expected

    @rule(data=st.data())
    def repeat_a_submission(self, data: st.DataObject) -> None:
        known = sorted(self.model.requests)
        if known:
            request_id = data.draw(st.sampled_from(known))
            content = self.model.requests[request_id].value[0]
            self.submit([JobSpec(type, payload) for type, payload in content], 0, data.draw(st.booleans()), request_id)

    @rule(
        worker=st.sampled_from(WORKERS),
        types=st.sampled_from([(), ("a",), ("b", ""), ("a", "b", "a")]),
        max_jobs=st.integers(1, 4),
        claim_key=st.sampled_from(["", "", "c1"]),
    )
    def claim(self, worker: str, types: tuple[str, ...], max_jobs: int, claim_key: str) -> None:
        granted = self.core.claim(worker, max_jobs, types=types, claim_key=claim_key)
        found = {one.number: one.token for one in granted}
        tokens = list(found.values()) + ["none left"] * (max_jobs - len(found))
        assert found == self.model.claim(worker, types, tokens, claim_key, self.core.now_ms)
        for one in granted:
            assert one.attempt == self.model.jobs[one.number].claims
            self.leases.append((one.number, worker, one.token))

    @rule(data=st.data(), proof=st.sampled_from(["token", "token", "worker", "wrong"]))
    def heartbeat(self, data: st.DataObject, proof: str) -> None:
        number, worker, token = self.draw_lease(data, proof)
        expected = self.model.heartbeat(number, worker, token)
        assert answer_of(lambda: holder(self.core.state, self.job_id(number), worker, token).number) == expected

    @rule(
        data=st.data(),
        proof=st.sampled_from(["token", "token", "token", "worker", "wrong"]),
        how=st.sampled_from(["complete", "fail", "fail", "release"]),
        delay_ms=st.sampled_from(DELAYS),
        retryable=st.sampled_from([True, True, False]),
        result=st.sampled_from([None, b"", b"result"]),
    )
    def end_an_attempt(
        self, data: st.DataObject, proof: str, how: str, delay_ms: int, retryable: bool, result: bytes | None
    ) -> None:
        number, worker, token = self.draw_lease(data, proof)
        job_id, now = self.job_id(number), self.core.now_ms
        if how == "complete":
            command: Any = Complete([CompleteItem(job_id, worker, token, result)])
            expected = self.model.end(Ending.COMPLETED, number, worker, token, now, result=result)
        elif how == "fail":
            command = Fail([FailItem(job_id, worker, token, retryable=retryable, retry_delay_ms=delay_ms)])
            expected = self.model.end(Ending.FAILED, number, worker, token, now, retryable=retryable, delay_ms=delay_ms)
        else:
            command = Release([ReleaseItem(job_id, worker, token)])
            expected = self.model.end(Ending.RELEASED, number, worker, token, now)
        assert answer_of(lambda: only(self.core.do(command))) == expected

    @rule(data=st.data(), limit=st.sampled_from([1, 2, 100]))
    def sweep(self, data: st.DataObject, limit: int) -> None:
        expired = []
        if self.leases:
            expired = [(n, token) for n, _, token in data.draw(st.lists(st.sampled_from(self.leases), max_size=3))]
        self.model.sweep(expired, limit, self.core.now_ms)
        self.core.do(Sweep(expired, limit=limit))

    @rule(by_ms=st.sampled_from(TIMES))
    def time_passes(self, by_ms: int) -> None:
        self.core.advance(by_ms)

    @rule(data=st.data(), verb=st.sampled_from(["cancel", "cancel", "retry", "retry", "purge"]))
    def operate(self, data: st.DataObject, verb: str) -> None:
        number = data.draw(st.integers(1, self.model.next_number))
        job_id = self.job_id(number)
        if verb == "cancel":
            expected, command = self.model.cancel(number, self.core.now_ms), Cancel([job_id])
        elif verb == "retry":
            expected, command = self.model.retry(number), Retry([job_id])
        else:
            expected, command = self.model.purge(number), Purge([job_id])
        assert answer_of(lambda: only(self.core.do(command))) == expected

    @rule(types=st.lists(st.sampled_from(TYPES), max_size=2), pause=st.booleans())
    def pause_or_resume(self, types: list[str], pause: bool) -> None:
        if pause:
            self.model.paused |= set(types)
            assert self.core.do(PauseTypes(types)) == sorted(self.model.paused)
        else:
            self.model.paused -= set(types)
            assert self.core.do(ResumeTypes(types)) == sorted(self.model.paused)

    @rule(data=st.data())
    def recover(self, data: st.DataObject) -> None:
        """From an image of any moment and the log behind it, or from the log alone."""
        before = image.encode(self.core.state)
        state = self.core.rebuilt(0)
        if data.draw(st.booleans()):
            half = data.draw(st.integers(0, len(self.core.log)))
            earlier = Core(LIMITS)
            earlier.log, earlier.state = self.core.log[:half], earlier.rebuilt(half)
            earlier.state = earlier.rebuilt()
            state = self.core.rebuilt(half, image.encode(earlier.state))
        assert image.encode(state) == before
        check(state)
        self.core.state = state
        self.model.shown.clear()

    # --- what is compared after each -------------------------------------------------------------------------------

    @invariant()
    def both_hold_the_same(self) -> None:
        if not hasattr(self, "core"):
            return
        state, model = self.core.state, self.model
        assert {number: view(job) for number, job in state.jobs.items()} == {
            number: view(job) for number, job in model.jobs.items()
        }
        assert [job.number for job in state.lines.in_order()] == [job.number for job in model.ready()]
        assert state.live == sum(1 for job in model.jobs.values() if job.status in LIVE)
        assert state.next_number == model.next_number
        assert {name: getattr(state.counters, name) for name in model.totals} == model.totals
        for table, remembered in (
            (state.keys, model.keys),
            (state.requests, model.requests),
            (state.settled, model.settled),
        ):
            assert len(table) == len(remembered)

    def teardown(self) -> None:
        if hasattr(self, "core"):
            self.core.check_replay()

    # --- drawing -----------------------------------------------------------------------------------------------------

    def draw_lease(self, data: st.DataObject, proof: str) -> tuple[int, str, str]:
        """A lease that is or was, and what its caller shows for it. Live ones are preferred."""
        live = [lease for lease in self.leases if self.is_live(lease)]
        pool = live if live and data.draw(st.integers(0, 2)) else self.leases
        number, worker, token = data.draw(st.sampled_from(pool)) if pool else (1, "w1", "none")
        note(f"lease of job {number}, {worker}, {token}, shown: {proof}")
        return number, worker, {"token": token, "worker": "", "wrong": "wrong"}[proof]

    def is_live(self, lease: tuple[int, str, str]) -> bool:
        job = self.model.jobs.get(lease[0])
        return job is not None and job.lease is not None and job.lease.token == lease[2]

    def job_id(self, number: int) -> str:
        return self.core.state.id_of_number(number)

    @staticmethod
    def number(job_id: str) -> int:
        number = IDS.number_of(job_id)
        assert number is not None
        return number


def answer_of(call: Any) -> Any:
    """The answer, or the class of the error."""
    try:
        return call()
    except OsqueueError as refusal:
        return type(refusal)


def view(job: Any) -> tuple[Any, ...]:
    """What both know of a job."""
    lease = job.lease
    return (
        job.status,
        job.place if job.status in (Status.UNCLAIMED, Status.IN_PROGRESS) else None,
        job.due_at,
        job.attempts,
        job.claims,
        job.cancel_requested,
        job.keep_until,
        job.result,
        (lease.token, lease.worker_id, lease.attempt, lease.started_at, lease.claim_key) if lease else None,
        [(a.number, a.worker_id, a.token, a.ended_at, a.ending, a.became, a.next_at) for a in job.history],
    )


def run(seed_number: int, examples: int) -> None:
    chosen = seed(seed_number)(type("SeededCoreMachine", (CoreMachine,), {}))
    run_state_machine_as_test(
        chosen,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            database=None,
            derandomize=False,
            print_blob=True,
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_core_agrees_with_the_model_on_a_fixed_seed():
    run(20_240_229, examples=150)


def test_the_core_agrees_with_the_model_on_a_fresh_seed(capsys):
    fresh = int(os.environ.get("OSQUEUE_PROPERTY_SEED") or random.SystemRandom().getrandbits(32))
    with capsys.disabled():
        print(f"[OSQUEUE_PROPERTY_SEED={fresh}] ", end="")
    try:
        run(fresh, examples=int(os.environ.get("OSQUEUE_PROPERTY_EXAMPLES", "150")))
    except BaseException as failure:
        failure.add_note(f"repeat it with OSQUEUE_PROPERTY_SEED={fresh}")
        raise


pytestmark = pytest.mark.timeout(600)
