"""Formats are released: what was ever written is read, and nothing is written in another way unnoticed.

The files beside this one hold bytes of the format's first release. When a change of the code
makes one of these tests fail, the format has changed: keep the old bytes, which must be read
for ever, add new ones beside them, and change docs/data-format.md.
"""

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from osqueue_service.engine.codec import Unreadable, decode_commit, encode_commit, replay
from osqueue_service.state import image
from osqueue_service.state.invariants import check
from osqueue_service.state.model import Ending, JobSpec, RetryPolicy, Status
from osqueue_service.state.records import (
    AnyRecord,
    AttemptEnd,
    AttemptsEnded,
    Cancelled,
    CancelRequested,
    Claimed,
    Completed,
    Completion,
    Evicted,
    Forgotten,
    Founded,
    Grant,
    Paused,
    Promoted,
    Purged,
    Resumed,
    Retried,
    Submitted,
)
from osqueue_service.state.state import State

FROZEN = Path(__file__).parent / "frozen"
AT_MS = 1_700_000_000_000

CALL = bytes(range(16))

FULL_SPEC = JobSpec(
    "email", b'{"to":1}', 5, 4, AT_MS + 60_000, 30_000, 600_000, 86_400_000, "key",
    RetryPolicy(1_000, 1.5, 60_000, 0.25), {"team": "blue"}, "job-1",
)  # fmt: skip

RECORDS: dict[str, AnyRecord] = {
    "founded": Founded("s4lt00"),
    "submitted": Submitted(1, [JobSpec("", b""), FULL_SPEC]),
    "submitted-full": Submitted(
        3, [JobSpec("t", b"\xff\x00")], 86_400_000, 2, "request", 600_000, bytes(16), (-1, 3, 0)
    ),
    "submitted-none": Submitted(4, [], 86_400_000, 1, "request", 600_000, bytes(16), (-1,)),
    "claimed": Claimed("worker", "claim", [Grant(1, "token-1", 30_000), Grant(2, "token-2", 5_000)]),
    "completed": Completed([Completion(1), Completion(2, b"result")], 3_600_000),
    "attempts-ended": AttemptsEnded(
        [
            AttemptEnd(1, Ending.FAILED, Status.SCHEDULED, AT_MS + 1_000, "ValueError", "it broke"),
            AttemptEnd(2, Ending.EXPIRED, Status.UNCLAIMED),
            AttemptEnd(3, Ending.TIMED_OUT, Status.DEAD, 0, "TIMED_OUT", "too long"),
            AttemptEnd(4, Ending.RELEASED, Status.CANCELLED),
        ],
        3_600_000,
        1_209_600_000,
    ),
    "promoted": Promoted(9, [1, 300]),
    "cancel-requested": CancelRequested([1, 70_000]),
    "cancelled": Cancelled([2], 3_600_000),
    "retried": Retried(10, [3]),
    "evicted": Evicted([1, 2], 600_000),
    "forgotten": Forgotten(1, 2, 3),
    "purged": Purged([5_000_000_000]),
    "paused": Paused(["a", "b"]),
    "resumed": Resumed(["a"]),
}


def frozen(name: str) -> list[bytes]:
    """The objects of a file, a line of hexadecimal digits each; what stands before a colon says what it is."""
    lines = (FROZEN / name).read_text().splitlines()
    return [bytes.fromhex(line.rpartition(":")[2]) for line in lines]


def frozen_records() -> dict[str, bytes]:
    lines = (FROZEN / "records-1.hex").read_text().splitlines()
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


def test_a_released_log_comes_to_the_released_image() -> None:
    state = State()
    for body in frozen("log-1.hex"):
        replay(state, body)
        check(state)
    assert image.encode(state) == frozen("image-1.hex")


def test_a_released_image_is_read_and_written_as_it_was() -> None:
    state = State()
    image.load(state, frozen("image-1.hex"))
    check(state)
    assert image.encode(state) == frozen("image-1.hex")
    assert all(state.count(status) for status in Status), "it shows jobs in every status"
    assert state.keys and state.requests and state.settled


def test_an_image_without_what_later_releases_add_is_read_with_defaults() -> None:
    """What the first release would have written if its last fields had not been there."""
    head, jobs = (msgspec.msgpack.decode(chunk) for chunk in frozen("image-1.hex")[:2])
    head[1][4] = head[1][4][:3]  # fewer counters
    spec = jobs[1][0][0]
    del spec[7:]  # no retention, no key, …
    jobs[1] = jobs[1][:1]
    state = State()
    image.load(state, [msgspec.msgpack.encode(chunk) for chunk in (head, jobs)])
    (job,) = state.jobs.values()
    assert (job.spec.retention_ms, job.spec.retry, job.spec.id) == (0, None, "")
    assert state.counters.released == 0


def test_what_a_later_release_added_is_not_dropped_in_silence() -> None:
    commit = msgspec.msgpack.decode(frozen_records()["submitted"])
    record = commit[1][0]
    for place in (record, record[2][0], commit):
        place.append("new in a later release")
        with pytest.raises(Unreadable, match="later release"):
            decode_commit(msgspec.msgpack.encode(commit))
        place.pop()
    commit[1][0][0] = 15
    with pytest.raises(Unreadable):
        decode_commit(msgspec.msgpack.encode(commit))
    head = msgspec.msgpack.decode(frozen("image-1.hex")[0])
    head[1].append("new in a later release")
    with pytest.raises(ValueError, match="length"):
        image.load(State(), [msgspec.msgpack.encode(head)])
