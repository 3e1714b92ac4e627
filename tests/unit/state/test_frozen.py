"""Formats are released: what was ever written is read, and nothing is written in another way unnoticed.

The files beside this one hold bytes of each format. When a change of the code makes one of these
tests fail, the format has changed: what has a feature of its own gets new bytes beside the old ones, which
must be read for ever, and docs/data-format.md says so.
"""

import random
from contextlib import suppress
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from osqueue_service.engine.codec import decode_commit, encode_commit, replay
from osqueue_service.state import image, legacy
from osqueue_service.state.apply import apply
from osqueue_service.state.audit import ACTIONS
from osqueue_service.state.batch_records import Call
from osqueue_service.state.batches import BatchSpec, BatchStep, Callback
from osqueue_service.state.consistency import BrokenRecord
from osqueue_service.state.invariants import check
from osqueue_service.state.model import Ending, JobSpec, LimitUse, MoreOfSpec, Origin, RetryPolicy, Status
from osqueue_service.state.named_limits import AtLimit, Meter, NamedLimit, Override, Rate
from osqueue_service.state.needs import Member, Need, Policy
from osqueue_service.state.records import (
    MANAGED,
    AnyRecord,
    AttemptEnd,
    AttemptsEnded,
    BatchesMoved,
    BatchOpened,
    By,
    CalledBack,
    Cancelled,
    CancelRequested,
    Claimed,
    Completed,
    Completion,
    CutOff,
    Decision,
    Evicted,
    FairnessWeighed,
    Fired,
    FollowedUp,
    Following,
    Forgotten,
    Founded,
    Grant,
    IdsRenewed,
    JobChange,
    KeyAnswered,
    KeysAnswered,
    LimitDeleted,
    LimitOverridden,
    LimitPut,
    Metered,
    OverridesEnded,
    Paused,
    Planned,
    Promoted,
    Purged,
    Replaced,
    Replacement,
    Resumed,
    Retried,
    Revived,
    SchedulePut,
    ScheduleResumed,
    SchedulesPaused,
    SchedulesRemoved,
    SteppedDown,
    Submitted,
    Unblocked,
    UniqueKeysFreed,
    Updated,
    WorkflowAdded,
    WorkflowCancelled,
)
from osqueue_service.state.schedules import Missed, Outcome, Overlap, Plan, ScheduleSpec
from osqueue_service.state.state import State
from osqueue_service.state.stored import Newer, Unreadable
from osqueue_service.state.unique import AfterDead, IfRunning, InSequence, OnConflict, Scope, Unique, Until
from osqueue_service.timetable.timetable import Gap, Repeat

FROZEN = Path(__file__).parent / "frozen"
AT_MS = 1_700_000_000_000

CALL = bytes(range(16))

FULL_SPEC = JobSpec(
    "email", b'{"to":1}', 5, 4, AT_MS + 60_000, 30_000, 600_000, 86_400_000, "key",
    RetryPolicy(1_000, 1.5, 60_000, 0.25), {"team": "blue"}, MoreOfSpec(id="job-1"),
)  # fmt: skip

FULL_SCHEDULE = ScheduleSpec(
    FULL_SPEC, "0 9 * * MON-FRI", "Europe/Berlin", Gap.SKIP, Repeat.BOTH, 0, 7, 60_000, AT_MS, AT_MS + 1, 10,
    Overlap.BUFFER_ALL, Missed.ALL, 3_600_000, 3,
)  # fmt: skip
FULL_PLAN = Plan(AT_MS, AT_MS + 1_000, AT_MS + 1_500, "2026a", "why not", AT_MS + 2_000)
UNIQUE = Unique(
    "key", Scope.QUEUE, Until.SUCCEEDED, OnConflict.DEBOUNCE, IfRunning.ENQUEUE_ONE_AFTER, 3_600_000, 60_000
)

FULL_BATCH = BatchSpec(
    "full", 16, 60_000, 86_400_000, JobSpec("d", b"1"), JobSpec("s", b"2", priority=5), JobSpec("f", b"3")
)

RECORDS: dict[str, AnyRecord] = {
    "founded": Founded("s4lt00"),
    "founded-before": Founded("s4lt00", 0),
    "submitted": Submitted(1, [JobSpec("", b""), FULL_SPEC]),
    "submitted-full": Submitted(
        3, [JobSpec("t", b"\xff\x00")], 86_400_000, 2, "request", 600_000, bytes(16), (-1, 3, 0)
    ),
    "submitted-none": Submitted(4, [], 86_400_000, 1, "request", 600_000, bytes(16), (-1,)),
    "claimed": Claimed("worker", "claim", [Grant(1, "token-1", 30_000), Grant(2, "token-2", 5_000)]),
    "completed": Completed([Completion(1), Completion(2, b"result")], 3_600_000, 20),
    "attempts-ended": AttemptsEnded(
        [
            AttemptEnd(1, Ending.FAILED, Status.SCHEDULED, AT_MS + 1_000, "ValueError", "it broke"),
            AttemptEnd(2, Ending.EXPIRED, Status.UNCLAIMED),
            AttemptEnd(3, Ending.TIMED_OUT, Status.DEAD, 0, "TIMED_OUT", "too long"),
            AttemptEnd(4, Ending.RELEASED, Status.CANCELLED),
        ],
        3_600_000,
        1_209_600_000,
        20,
    ),
    "promoted": Promoted(9, [1, 300]),
    "cancel-requested": CancelRequested([1, 70_000]),
    "cancelled": Cancelled([2], 3_600_000),
    "retried": Retried(10, [3]),
    "evicted": Evicted([1, 2], 600_000),
    "forgotten": Forgotten(["key"], [], ["token-1", "token-2"]),
    "purged": Purged([5_000_000_000]),
    "paused": Paused(["a", "b"]),
    "resumed": Resumed(["a"]),
    "ids-renewed": IdsRenewed(7),
    "stepped-down": SteppedDown(),
    "followed-up": FollowedUp(
        11,
        [
            Following(1, [JobSpec("b", b"{}", more=MoreOfSpec(origin=Origin(1, "follow_up", 2)))], (-3, 11, 0)),
            Following(2, [], withheld=True),
            Following(3, [JobSpec("c", b"{}", more=MoreOfSpec(origin=Origin(3, "on_dead", 1, "Boom", "why")))]),
        ],
        86_400_000,
    ),
    "submitted-on-dead": Submitted(12, [JobSpec("d", b"{}", more=MoreOfSpec(on_dead=JobSpec("refund", b"1")))]),
    "workflow-added": WorkflowAdded(
        13,
        13,
        "flow",
        [
            JobSpec("a", b"{}", more=MoreOfSpec(member=Member(13, "a"))),
            JobSpec(
                "b", b"{}", more=MoreOfSpec(member=Member(13, "b", (Need(14, "a", Policy.RUN, Policy.HOLD, True),)))
            ),
        ],
        "request",
        600_000,
        bytes(16),
    ),
    "unblocked": Unblocked(16, [15]),
    "cut-off": CutOff([15], [14], 3_600_000),
    "revived": Revived([15]),
    "workflow-cancelled": WorkflowCancelled(13),
    "submitted-member": Submitted(17, [JobSpec("m", b"{}", more=MoreOfSpec(batch=16))]),
    "batch-opened": BatchOpened(16, BatchSpec("least", seal_after_ms=1_000, retention_ms=2_000)),
    "batch-opened-full": BatchOpened(17, FULL_BATCH, "request", 600_000, bytes(16)),
    "batches-sealed": BatchesMoved([16, 17], BatchStep.SEALED),
    "batches-cancelled": BatchesMoved([16], BatchStep.CANCELLED, By("osq_ann", "10.0.0.7")),
    "batches-swept": BatchesMoved([16], BatchStep.SWEPT),
    "batches-forgotten": BatchesMoved([16], BatchStep.FORGOTTEN),
    "called-back": CalledBack(
        18, [Call(17, Callback.SUCCESS, JobSpec("s", b"{}", more=MoreOfSpec(origin=Origin(17, "batch_success"))))]
    ),
    "purged-by": Purged([1], By("osq_ann", "10.0.0.7")),
    "schedule-put": SchedulePut(5, "least", ScheduleSpec(JobSpec("t", b"1"), every_ms=1_000), Plan(AT_MS)),
    "schedule-put-full": SchedulePut(6, "full", FULL_SCHEDULE, FULL_PLAN, By("osq_ann", "10.0.0.7")),
    "schedules-removed": SchedulesRemoved([5]),
    "schedules-paused": SchedulesPaused([5, 70_000], "holidays"),
    "schedule-resumed": ScheduleResumed(5, Plan(AT_MS, AT_MS + 1_000, AT_MS + 1_000)),
    "fired": Fired(
        9,
        [
            Decision(5, AT_MS, Outcome.FIRED, 9),
            Decision(5, AT_MS - 1_000, Outcome.MISSED, count=7),
            Decision(6, AT_MS, Outcome.SKIPPED, 4),
        ],
        [Planned(5, Plan(AT_MS, AT_MS + 1_000, AT_MS + 1_000)), Planned(6, FULL_PLAN)],
        10,
    ),
    "fired-by-hand": Fired(9, [Decision(5, AT_MS, Outcome.TRIGGERED, 9)], [], 10, "request", 600_000, bytes(16)),
    "submitted-limited": Submitted(1, [JobSpec("t", b"1", more=MoreOfSpec(limits=(LimitUse("api", "a", 2),)))]),
    "limit-put": LimitPut(
        NamedLimit("api", 3, Rate(10, 60_000, 5), True, AtLimit.CANCEL_NEWEST, 100, 1_000, {"mail": "customer"})
    ),
    "limit-put-least": LimitPut(NamedLimit("db", 1)),
    "limit-deleted": LimitDeleted("api", By("osq_ann")),
    "limit-overridden": LimitOverridden("api", "a", Override(-1, Rate(1, 1_000, 1), AT_MS)),
    "limit-override-taken-back": LimitOverridden("api", "a"),
    "metered": Metered([Meter("api", "a", AT_MS * 1_000_000 + 1), Meter("db", "", 0, AT_MS)]),
    "overrides-ended": OverridesEnded([("api", "a"), ("api", "b")]),
    "submitted-unique": Submitted(
        5, [JobSpec("t", b"1", more=MoreOfSpec(unique=UNIQUE))], 0, 0, "request", 600_000, bytes(16), (5 << 56 | 5,)
    ),
    "replaced": Replaced(
        6,
        [
            Replacement(1, JobSpec("t", b"2", more=MoreOfSpec(unique=UNIQUE)), AT_MS + 5, False),
            Replacement(2, FULL_SPEC),
        ],
    ),
    "fairness-weighed": FairnessWeighed("acme", 2_500, By("ada", "ipv4:10.0.0.7:1")),
    "submitted-fairness-key": Submitted(7, [JobSpec("t", b"1", more=MoreOfSpec(fairness_key="acme"))]),
    "submitted-sequence": Submitted(
        7, [JobSpec("t", b"1", more=MoreOfSpec(sequence=InSequence("account 7", AfterDead.SKIP)))]
    ),
    "keys-answered": KeysAnswered([KeyAnswered("key", 3 << 56 | 1, bytes(16))], 86_400_000),
    "updated": Updated(9, [1, 2], JobChange(3, AT_MS + 5, b"new", {"a": "b"}), By("osq_ann", "10.0.0.7")),
    "updated-least": Updated(9, [1], JobChange(run_at=AT_MS)),
    "unique-keys-freed": UniqueKeysFreed(["t\nkey", "\n\nkey"]),
}


def frozen(name: str) -> list[bytes]:
    """The objects of a file, a line of hexadecimal digits each; what stands before a colon says what it is."""
    lines = (FROZEN / name).read_text().splitlines()
    return [bytes.fromhex(line.rpartition(":")[2]) for line in lines]


def frozen_records(name: str = "records-2.hex") -> dict[str, bytes]:
    lines = (FROZEN / name).read_text().splitlines()
    return {name: bytes.fromhex(text) for name, _, text in (line.partition(":") for line in lines)}


@pytest.mark.parametrize("name", RECORDS)
def test_each_record_is_written_and_read_as_it_was_released(name: str) -> None:
    body = frozen_records()[name]
    assert encode_commit(AT_MS, [RECORDS[name]]) == body
    commit = decode_commit(body)
    assert (commit.at_ms, commit.records) == (AT_MS, [RECORDS[name]])


def test_every_record_is_frozen() -> None:
    assert set(frozen_records()) == set(RECORDS)
    assert {type(record) for record in RECORDS.values()} == set(get_args(AnyRecord))


@pytest.mark.parametrize("name", ["2", "limits"])
def test_a_released_log_comes_to_the_released_image(name: str) -> None:
    state = State()
    for body in frozen(f"log-{name}.hex"):
        replay(state, body)
        check(state)
    assert image.encode(state) == frozen(f"image-{name}.hex")
    again = State()
    image.load(again, frozen(f"image-{name}.hex"))
    assert image.encode(again) == image.encode(state)


def test_a_released_image_is_read_and_written_as_it_was() -> None:
    state = State()
    image.load(state, frozen("image-2.hex"))
    check(state)
    assert image.encode(state) == frozen("image-2.hex")
    later = {Status.BLOCKED}  # a status that this release did not have
    assert all(state.count(status) for status in set(Status) - later), "it shows jobs in every status"
    assert state.keys and state.requests and state.settled


def test_an_image_without_what_later_releases_add_is_read_with_defaults() -> None:
    """What a release would have written if its last fields had not been there."""
    head, jobs = (msgspec.msgpack.decode(chunk) for chunk in frozen("image-2.hex")[:2])
    head[1][4] = head[1][4][:3]  # fewer counters
    spec = jobs[1][0][0]
    del spec[7:]  # no retention, no key, …
    jobs[1] = jobs[1][:1]
    state = State()
    image.load(state, [msgspec.msgpack.encode(chunk) for chunk in (head, jobs)])
    (job,) = state.jobs.values()
    assert (job.spec.retention_ms, job.spec.retry, job.spec.id) == (0, None, "")
    assert state.counters.released == 0


def test_released_schedules_are_read_and_written_as_they_were() -> None:
    """A log of records of schedules, and the image that it comes to."""
    state = State()
    for body in frozen("log-schedules.hex"):
        replay(state, body)
        check(state)
    parts = frozen("image-schedules.hex")
    assert image.encode(state) == parts
    loaded = State()
    image.load(loaded, parts)
    check(loaded)
    assert image.encode(loaded) == parts
    assert {firing.outcome for each in loaded.schedules.by_id.values() for firing in each.recent} == set(Outcome)


def test_every_record_that_says_who_asked_for_it_has_an_action() -> None:
    assert ACTIONS.keys() == MANAGED


def test_a_released_audit_is_read_and_written_as_it_was() -> None:
    ann, boot = By("osq_ann", "10.0.0.7"), By("boot")
    changes: list[AnyRecord] = [
        Founded("s4lt00"),
        Submitted(1, [JobSpec("a", b"1"), JobSpec("a", b"2")]),
        Paused(["a"], ann),
        Resumed(["a"], boot),
        Cancelled([1], 3_600_000, ann),
        Purged([1], boot),
        SteppedDown(ann),
    ]
    state = State()
    for seconds, record in enumerate(changes):
        apply(state, record, AT_MS + 1_000 * seconds)
    parts = frozen("image-audit.hex")
    assert image.encode(state) == parts
    loaded = State()
    image.load(loaded, parts)
    assert image.encode(loaded) == parts
    assert [entry.action for entry in loaded.audit.newest()] == ["step_down", "purge", "cancel", "resume", "pause"]


# --- the first format, which is read once -----------------------------------------------------------------------------


def test_a_log_of_the_first_format_comes_to_the_state_that_its_image_shows() -> None:
    logged, loaded = State(), State()
    for body in frozen("log-1.hex"):
        replay(logged, body, 1)
        check(logged)
    image.load(loaded, frozen("image-1.hex"))
    check(loaded)
    assert image.encode(logged) == image.encode(loaded)
    later = {Status.BLOCKED}  # a status that this release did not have
    assert all(loaded.count(status) for status in set(Status) - later), "it shows jobs in every status"
    assert loaded.keys and loaded.requests and loaded.settled


def test_ids_of_the_first_format_stay_what_they_were() -> None:
    state = State()
    image.load(state, frozen("image-1.hex"))
    numbers = [number for number, job in state.jobs.items() if not job.spec.id]
    ids = [state.job_id(state.jobs[number]) for number in numbers]
    assert ids == [f"{state.salt}{number:010x}" for number in numbers]
    apply(state, IdsRenewed(state.next_number), AT_MS)
    assert ids == [state.job_id(state.jobs[number]) for number in numbers]
    assert all(state.find(job_id) is state.jobs[number] for job_id, number in zip(ids, numbers, strict=True))


@pytest.mark.parametrize("name", frozen_records("records-1.hex"))
def test_each_record_of_the_first_format_is_understood(name: str) -> None:
    at_ms, makers = legacy.commit_parts(frozen_records("records-1.hex")[name])
    (make,) = makers
    (record,) = decode_commit(msgspec.msgpack.encode([at_ms, [msgspec.msgpack.decode(make(State()))]])).records
    renewed: dict[str, AnyRecord] = RECORDS | {
        "founded": RECORDS["founded-before"],
        "forgotten": Forgotten([], [], []),  # there was nothing to forget in this state
    }
    assert record == renewed[name]


# --- what a later release writes --------------------------------------------------------------------------------------


def test_what_a_later_release_added_is_not_dropped_in_silence() -> None:
    commit = msgspec.msgpack.decode(frozen_records()["submitted"])
    record = commit[1][0]
    for place in (record, record[2][0], commit):
        place.append("new in a later release")
        with pytest.raises(Newer):
            decode_commit(msgspec.msgpack.encode(commit))
        place.pop()
    record[2][1][11]["colour"] = "a property of jobs that this release does not know"
    with pytest.raises(Newer, match="colour"):
        decode_commit(msgspec.msgpack.encode(commit))
    del record[2][1][11]["colour"]
    commit[1][0][0] = 99
    with pytest.raises(Newer):
        decode_commit(msgspec.msgpack.encode(commit))


def test_what_a_later_release_added_to_an_image_is_not_dropped_in_silence() -> None:
    head, jobs = (msgspec.msgpack.decode(chunk) for chunk in frozen("image-2.hex")[:2])
    later = [0, [*head[1], "new"]], [1, [[*jobs[1][0], "new"]]], [1, [[*jobs[1][0][:-1], {"new": 1}]]], [99, "new"]
    for part in [*later, [0, [3, *head[1][1:]]]]:
        with pytest.raises(Newer):
            image.load(State(), [msgspec.msgpack.encode(part)])


@pytest.mark.parametrize("format", [1, 2])
def test_random_damage_of_a_commit_or_an_image_is_understood_or_refused(format: int) -> None:
    """10,000 of them. No such bytes lie below a checksum that is right; and if they did, no tool may crash."""
    draw = random.Random(format)
    commits, parts = list(frozen_records(f"records-{format}.hex").values()), frozen(f"image-{format}.hex")
    for _ in range(2_500):
        for bodies, read in (
            (commits, lambda body: replay(State(), body, format)),
            (parts, lambda body: image.load(State(), [parts[0], body])),
        ):
            body = bytearray(draw.choice(bodies))
            for _ in range(draw.randint(1, 4)):
                body[draw.randrange(len(body))] = draw.randrange(256)
            with suppress(Newer, Unreadable, BrokenRecord):
                read(bytes(body))
