"""What workers send: each field at its limits, and wrong in each way."""

from collections.abc import Callable
from math import nan
from typing import Any

import pytest

from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.rpc.fields import TypeNames, Violations
from osqueue_service.rpc.queue_service.attempts import AttemptReader, Renewal
from osqueue_service.rpc.queue_service.claims import ClaimReader
from osqueue_service.state.commands import Claim, CompleteItem, FailItem, ReleaseItem
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2

Read = Callable[[Violations], Any]

ATTEMPTS = AttemptReader(DEFAULT_LIMITS)
CLAIMS = ClaimReader(DEFAULT_LIMITS, TypeNames(128))

HOLDER = {"job_id": "j1", "worker_id": "w1", "lease_token": "t1"}
YEAR_MS = 365 * 86_400_000


def claim(**fields: Any) -> Read:
    return lambda wrong: CLAIMS.read(queue_pb2.ClaimJobRequest(**{"worker_id": "w1", **fields}), wrong)


def claims(**fields: Any) -> Read:
    return lambda wrong: CLAIMS.read(queue_pb2.ClaimJobsRequest(**{"worker_id": "w1", **fields}), wrong)


def heartbeat(**fields: Any) -> Read:
    return lambda wrong: ATTEMPTS.renewal(queue_pb2.HeartbeatRequest(**{**HOLDER, **fields}), wrong)


def completion(**fields: Any) -> Read:
    return lambda wrong: ATTEMPTS.completion(queue_pb2.CompleteJobRequest(**{**HOLDER, **fields}), wrong)


def failure(**fields: Any) -> Read:
    return lambda wrong: ATTEMPTS.failure(queue_pb2.FailJobRequest(**{**HOLDER, **fields}), 0.25, wrong)


def release(**fields: Any) -> Read:
    return lambda wrong: ATTEMPTS.release(queue_pb2.ReleaseJobRequest(**{**HOLDER, **fields}), wrong)


def accepted(read: Read) -> Any:
    wrong = Violations()
    found = read(wrong)
    wrong.check()
    return found


def refused(read: Read) -> dict[str, str]:
    wrong = Violations()
    read(wrong)
    assert wrong
    return dict(wrong.refusal().violations)


def test_a_claim():
    asked = accepted(claim(types=["a", "b", "a"], claim_key="c", lease_ms=500, wait_ms=9))
    assert asked == Claim("w1", ["a", "b"], 1, 3 * 1024 * 1024, 500, "c")


def test_a_claim_for_several():
    assert accepted(claims(max_jobs=7, max_bytes=10)) == Claim("w1", [], 7, 10)


def test_a_claim_for_more_bytes_than_fit_gets_what_fits():
    assert accepted(claims(max_bytes=2**62)).max_bytes == DEFAULT_LIMITS.page_bytes


def test_a_heartbeat():
    assert accepted(heartbeat()) == Renewal("j1", "w1", "t1")
    said = job_pb2.Progress(fraction=0.5, message="half")
    assert accepted(heartbeat(progress=said)) == Renewal("j1", "w1", "t1", (0.5, "half"))


def test_a_completion():
    assert accepted(completion()) == CompleteItem("j1", "w1", "t1", None)
    assert accepted(completion(result=b"")) == CompleteItem("j1", "w1", "t1", b"")


def test_a_failure():
    assert accepted(failure()) == FailItem("j1", "w1", "t1", jitter=0.25)
    told = failure(error=job_pb2.JobError(type="E", message="m\nn"), retryable=False, retry_delay_ms=0)
    assert accepted(told) == FailItem("j1", "w1", "t1", "E", "m\nn", False, 0, 0.25)


def test_a_release():
    assert accepted(release()) == ReleaseItem("j1", "w1", "t1")


EDGES: list[tuple[Callable[..., Read], str, Any, Any, str]] = [
    (claim, "worker_id", "w" * 128, "w" * 129, ""),
    (claim, "worker_id", "w", "", ""),
    (claim, "worker_id", "w w", "w\tw", ""),
    (claim, "types", ["t"] * 128, ["t"] * 129, ""),
    (claim, "types", ["t" * 1_024], ["t" * 1_025], "types[0]"),
    (claim, "claim_key", "k" * 128, "k" * 129, ""),
    (claim, "claim_key", "", "\x00", ""),
    (claim, "worker_version", "v" * 128, "v" * 129, ""),
    (claim, "wait_ms", 2**62, -1, ""),
    (claim, "lease_ms", 100, 99, ""),
    (claim, "lease_ms", 43_200_000, 43_200_001, ""),
    (claims, "max_jobs", 1_000, 1_001, ""),
    (claims, "max_jobs", 0, -1, ""),
    (claims, "max_bytes", 0, -1, ""),
    (heartbeat, "progress", job_pb2.Progress(fraction=1), job_pb2.Progress(fraction=1.01), "progress.fraction"),
    (heartbeat, "progress", job_pb2.Progress(fraction=0), job_pb2.Progress(fraction=-0.01), "progress.fraction"),
    (heartbeat, "progress", job_pb2.Progress(), job_pb2.Progress(fraction=nan), "progress.fraction"),
    (
        heartbeat,
        "progress",
        job_pb2.Progress(message="é" * 512),
        job_pb2.Progress(message="é" * 513),
        "progress.message",
    ),
    (completion, "result", b"x" * 1_048_576, b"x" * 1_048_577, ""),
    (failure, "error", job_pb2.JobError(type="E" * 256), job_pb2.JobError(type="E" * 257), "error.type"),
    (failure, "error", job_pb2.JobError(type="E E"), job_pb2.JobError(type="E\nE"), "error.type"),
    (failure, "error", job_pb2.JobError(message="m" * 8_192), job_pb2.JobError(message="m" * 8_193), "error.message"),
    (failure, "retry_delay_ms", YEAR_MS, YEAR_MS + 1, ""),
    (failure, "retry_delay_ms", 0, -1, ""),
]
for verb in (heartbeat, completion, failure, release):
    EDGES += [
        (verb, "job_id", "j" * 128, "j" * 129, ""),
        (verb, "job_id", "unknown but well-formed", "", ""),
        (verb, "job_id", "j", "j\x7f", ""),
        (verb, "worker_id", "w" * 128, "w" * 129, ""),
        (verb, "worker_id", "w", "", ""),
        (verb, "worker_id", "w", "\u202ew", ""),
        (verb, "lease_token", "t" * 128, "t" * 129, ""),
        (verb, "lease_token", "", "t\n", ""),
    ]


@pytest.mark.parametrize(
    ("verb", "field", "good", "bad", "named"), EDGES, ids=lambda v: getattr(v, "__name__", str(v)[:20])
)
def test_each_field_has_an_edge(verb, field, good, bad, named):
    accepted(verb(**{field: good}))
    assert set(refused(verb(**{field: bad}))) == {named or field}


def test_all_that_is_wrong_is_said_at_once():
    assert set(refused(completion(job_id="", worker_id="", lease_token="\n"))) == {"job_id", "worker_id", "lease_token"}
