"""States as bytes: whole, and written while the state goes on changing."""

import random
from collections.abc import Callable
from contextlib import suppress

import msgspec
import pytest

from osqueue_service.errors import LeaseLost, UniqueConflict
from osqueue_service.limits import DAY_MS, HOUR_MS
from osqueue_service.state import image
from osqueue_service.state.batch_commands import CancelBatch, OpenBatch, SealBatch
from osqueue_service.state.batches import BatchSpec
from osqueue_service.state.batching import in_batch
from osqueue_service.state.commands import (
    CancelWorkflow,
    DeleteSchedule,
    Node,
    NodeNeed,
    PauseSchedule,
    PauseTypes,
    PutSchedule,
    ResumeSchedule,
    ResumeTypes,
    SubmitWorkflow,
    TriggerSchedule,
    Update,
)
from osqueue_service.state.invariants import check
from osqueue_service.state.model import MoreOfSpec, RequestEntry, Status
from osqueue_service.state.named_limits import Rate
from osqueue_service.state.needs import Policy
from osqueue_service.state.records import By, JobChange
from osqueue_service.state.schedules import Missed, Overlap, ScheduleSpec
from osqueue_service.state.state import State
from osqueue_service.state.stored import Newer
from osqueue_service.state.unique import AfterDead, IfRunning, InSequence, OnConflict, Scope, Unique, Until
from tests.core import Core, spec, submit_blocked, under

RUN = Policy.RUN


def loaded(parts: list[bytes]) -> State:
    state = State()
    image.load(state, parts)
    check(state)
    return state


def canonical(parts: list[bytes]) -> list[bytes]:
    """The bytes that a state with the same content has."""
    return image.encode(loaded(parts))


def populated(seed: int = 0, jobs: int = 60) -> Core:
    """A queue with jobs in every status that records lead to, and something in every table."""
    core, draw = Core(), random.Random(seed)
    number = 0
    while number < jobs or not all(core.state.count(status) for status in Status):
        busy(core, draw, number)
        limiting(core, draw, number)
        number += 1
    submit_blocked(core, "d")
    return core


def limiting(core: Core, draw: random.Random, number: int) -> None:
    """A few changes of limits, and jobs under them."""
    if number % 10 == 0:
        core.put_limit("api", draw.randint(0, 3), draw.choice([None, Rate(5, 60_000, 2)]), per_key=True)
        if core.state.limits.get("old") is None:
            core.put_limit("old", 1)
        else:
            core.delete_limit("old", detach=True)
        core.override("api", "a", draw.randint(0, 3), until=core.now_ms + draw.choice([1, 10_000]))
        core.take_back("api", draw.choice("abc"))
    uses = [("api", draw.choice("abc"))] + [("old", "")] * (core.state.limits.get("old") is not None)
    core.submit("a", more=under(*uses))
    core.sweep()


def busy(core: Core, draw: random.Random, number: int) -> None:
    """A few changes of every kind, keys that expire and come back included."""
    core.advance(draw.choice([0, 1, 1_000]))
    fields = {
        "priority": draw.choice([0, 0, 5]),
        "max_attempts": draw.choice([0, 1]),
        "run_at": draw.choice([0, core.now_ms + 10_000]),
        "timeout_ms": draw.choice([0, 60_000]),
        "retention_ms": draw.choice([0, 0, 2_000]),
        "idempotency_key": draw.choice(["", f"k{number}", f"k{number // 2}"]),
        "more": among_others(core, draw),
    }
    more = MoreOfSpec(on_dead=spec("b")) if number % 3 == 0 else None
    if fields["more"]:
        fields["priority"] = 9  # they run soon, so that others come upon them then
    core.submit_specs([spec(draw.choice("abc"), **fields), spec("a", more=more)], atomic=False, request_id=f"r{number}")
    if number % 5 == 0:
        flow(core, draw)
        count_together(core, draw)
    follow_ups = [spec("c", idempotency_key=f"k{number // 2}"), spec("a")]
    for granted in core.claim(f"w{number % 3}", draw.choice([0, 1, 3]), claim_key=f"c{number % 4}"):
        settle = draw.choice(
            [
                lambda lease: core.complete(lease, result=b"done"),
                lambda lease: core.complete(lease, follow_ups=follow_ups),
                lambda lease: core.fail(lease, retry_delay_ms=draw.choice([0, 500])),
                core.release,
                core.expire,
                lambda lease: core.cancel(lease.job_id),
                lambda lease: None,
                lambda lease: core.purge(lease.job_id) if draw.random() < 0.3 else None,
            ]
        )
        with suppress(LeaseLost):  # a claim repeated by its key tells of leases that may have timed out since
            settle(granted)
    job = draw.choice(list(core.state.jobs.values()) or [None])
    if job is not None and draw.random() < 0.3:
        core.cancel(core.state.job_id(job), draw.choice([None, By("ada", "ipv4:10.0.0.7:1")]))
    if job is not None and draw.random() < 0.3:
        run_at = draw.choice([None, 0, core.now_ms + 500])
        change = JobChange(draw.choice([None, 3]), run_at, None, draw.choice([None, {}, {"a": "b"}]))
        core.do(Update([core.state.job_id(job)], change))
    dead = next(iter(core.state.roster(Status.DEAD)), None)
    if dead is not None and draw.random() < 0.2:
        with suppress(UniqueConflict):
            core.retry(core.state.job_id(dead))
    if draw.random() < 0.5:
        busy_schedule(core, draw, f"schedule {number % 3}")
    if draw.random() < 0.2:
        (core.resume if core.state.lines.gates.paused else core.pause)(draw.choice("abc"))
        core.do(PauseTypes(["d", "e"] if core.state.lines.gates.paused else ["d"], By("boot")))
        core.do(ResumeTypes(["d", "e"], By("boot")))


def busy_schedule(core: Core, draw: random.Random, id: str) -> None:
    """One change of a schedule."""
    if id not in core.state.schedules.by_id:
        core.do(
            PutSchedule(
                id,
                ScheduleSpec(
                    spec(draw.choice("abc"), max_attempts=1),
                    every_ms=draw.choice([1_000, 5_000]),
                    overlap=draw.choice(list(Overlap)),
                    missed=draw.choice(list(Missed)),
                    pause_after_dead=2,
                ),
            )
        )
    elif draw.random() < 0.3:
        template = spec("c", metadata={"drawn": str(draw.random())})
        core.do(PutSchedule(id, ScheduleSpec(template, cron="* * * * *", time_zone="Europe/Berlin")))
    else:
        kinds = [PauseSchedule, ResumeSchedule, TriggerSchedule]
        core.do(draw.choice(kinds)(id) if draw.random() < 0.8 else DeleteSchedule(id))
    core.sweep()


def among_others(core: Core, draw: random.Random) -> MoreOfSpec | None:
    """A job like any other, with a unique key, in a sequence, with a fairness key, or with several of these."""
    unique = unique_key(draw) if draw.random() < 0.4 else None
    sequence = InSequence(draw.choice("pq"), draw.choice(list(AfterDead))) if draw.random() < 0.2 else None
    turn = random.Random(core.state.next_number)
    key = turn.choice(["", "", "", "x", "y"])
    if turn.random() < 0.1:
        core.weigh(turn.choice("xyz"), turn.choice([500, 1_000, 3_000]))
    return MoreOfSpec(unique=unique, sequence=sequence, fairness_key=key) if unique or sequence or key else None


def unique_key(draw: random.Random) -> Unique:
    """A unique key with any terms."""
    until = draw.choice([*Until, Until.FINISHED, Until.FINISHED])
    if_running = IfRunning.KEEP if until is Until.STARTED else draw.choice(list(IfRunning))
    ttl_ms = draw.choice([0, 0, 3_000, 60_000])
    scope = draw.choice([Scope.TYPE, Scope.TYPE, Scope.QUEUE])
    return Unique(draw.choice("xyz"), scope, until, draw.choice(list(OnConflict)), if_running, ttl_ms, 20_000)


def flow(core: Core, draw: random.Random) -> None:
    """A small workflow, and sometimes the end of another."""
    a, b = Node("a", spec("a", max_attempts=1)), Node("b", spec("b"), [NodeNeed("a")])
    core.do(SubmitWorkflow("flow", [a, b, Node("c", spec("c", run_at=core.now_ms + 5_000), [NodeNeed("b", RUN, RUN)])]))
    number = draw.choice(list(core.state.graphs.by_number))
    if draw.random() < 0.3:
        core.do(CancelWorkflow(number))


def count_together(core: Core, draw: random.Random) -> None:
    """A small batch, maybe in another, and sometimes the end of one."""
    takes = [each.number for each in core.state.batches.by_number.values() if not each.sealed_at and each.live]
    parent = draw.choice(takes) if len(takes) > 3 and draw.random() < 0.3 else 0
    named = BatchSpec("b", parent, 3_600_000, 24 * 3_600_000, spec("a"), spec("b"), spec("c"))
    number = core.do(OpenBatch(named)).number
    members = [
        spec(draw.choice("abc"), max_attempts=1, priority=draw.choice([0, 9])) for _ in range(draw.randint(0, 3))
    ]
    if members:
        core.submit_specs([in_batch(each, number) for each in members])
    chosen = draw.choice(list(core.state.batches.by_number))
    core.do(CancelBatch(chosen, By("ada")) if draw.random() < 0.3 else SealBatch(chosen))


def test_an_empty_state():
    assert canonical(image.encode(State())) == image.encode(State())


@pytest.mark.parametrize("seed", range(5))
def test_loading_what_was_encoded_gives_an_equal_state(seed):
    core = populated(seed)
    parts = image.encode(core.state)
    assert canonical(parts) == parts
    core.check_replay()


def test_a_loaded_state_goes_on_like_the_one_it_was_taken_from():
    core = populated()
    parts, commits = image.encode(core.state), len(core.log)
    draw = random.Random(9)
    for number in range(1_000, 1_060):
        busy(core, draw, number)
    assert image.encode(core.rebuilt(commits, parts)) == image.encode(core.state)


def test_an_image_of_a_newer_format_is_refused_by_name():
    head = image.Head(image.FORMAT + 1, "salt00", 1, 0, State().counters, [], 1)
    with pytest.raises(Newer, match="format 3"):
        loaded([msgspec.msgpack.encode([image.Kind.HEAD, head])])


@pytest.mark.parametrize("where", ["waiting", "copied"])
def test_parts_are_closed_by_what_their_jobs_weigh(where):
    """256 jobs of 1 MiB were one part of 256 MiB, which no checkpoint may hold: the broker stopped at every start."""
    core = Core()
    for _ in range(40):
        core.submit(payload=b"x" * image.PART_BYTES)
    for _ in range(300):
        core.submit(payload=b"y" * 1_000)
    snapshot = image.Snapshot(core.state)
    parts = snapshot.parts()
    written = [next(parts)]
    if where == "copied":
        core.claim(max_jobs=40, max_bytes=1 << 30)
    written += parts
    assert max(map(len, written)) < 1.1 * image.PART_BYTES
    assert len(written) == 1 + 40 + 2, "small jobs still share parts"
    assert len(loaded(written).jobs) == 340


def test_remembered_calls_are_spread_over_parts_by_their_weight():
    state = State()
    for number in range(1_000):
        state.requests.remember(f"r{number}", RequestEntry(bytes(16), 1, 1, 1, tuple(range(2**40, 2**40 + 1_000))))
    parts = image.encode(state)
    assert max(map(len, parts)) < 1.1 * image.PART_BYTES
    assert len(loaded(parts).requests) == 1_000


class TestSnapshots:
    """A snapshot that is read slowly equals the state at the moment it was taken."""

    @pytest.fixture(autouse=True)
    def small_parts(self, monkeypatch):
        monkeypatch.setattr(image, "_JOBS_PER_PART", 3)

    def read_while(self, core: Core, change: Callable[[int], None]) -> list[bytes]:
        core.forget = False
        parts = []
        for number, part in enumerate(image.Snapshot(core.state).parts()):
            parts.append(part)
            change(number)
        return parts

    @pytest.mark.parametrize("seed", range(25))
    def test_whatever_changes_between_two_parts(self, seed):
        core, draw = populated(seed, 40), random.Random(seed)
        moment, commits = image.encode(core.state), len(core.log)

        def change(number: int) -> None:
            for step in range(draw.choice([0, 1, 4])):
                busy(core, draw, 1_000 + 10 * number + step)
            if draw.random() < 0.3:
                core.advance(draw.choice([10_000, HOUR_MS]))
                core.sweep(draw.choice([1, 5, 50]))

        parts = self.read_while(core, change)
        assert len(parts) > 10
        assert canonical(parts) == moment
        assert image.encode(core.rebuilt(commits, parts)) == image.encode(core.state)

    def test_a_key_used_after_the_moment_is_not_in_it(self):
        core = populated()
        moment = image.encode(core.state)
        parts = self.read_while(core, lambda number: core.submit(idempotency_key=f"later{number}") and None)
        assert canonical(parts) == moment

    def test_a_key_that_expired_and_is_used_anew_is_in_it_as_it_was(self):
        core = Core()
        core.submit(idempotency_key="k")
        core.advance(DAY_MS)
        moment = image.encode(core.state)
        parts = self.read_while(core, lambda number: core.submit(idempotency_key="k") and None)
        assert canonical(parts) == moment

    def test_jobs_that_finish_and_go_are_in_it_as_they_were(self):
        core = populated()
        moment = image.encode(core.state)
        ids = [core.state.job_id(job) for job in core.state.jobs.values()]
        parts = self.read_while(core, lambda number: core.purge(ids[number]) if number < len(ids) else None)
        assert canonical(parts) == moment

    def test_one_at_a_time(self):
        core = populated()
        first = image.Snapshot(core.state)
        with pytest.raises(AssertionError, match="another checkpoint"):
            image.Snapshot(core.state)
        first.close()
        first.close()
        image.Snapshot(core.state).close()

    def test_one_that_is_given_up_lets_the_state_go(self):
        core = populated()
        parts = image.Snapshot(core.state).parts()
        next(parts)
        parts.close()
        assert core.state.before_change is None
        assert canonical(image.encode(core.state)) == image.encode(core.state)
