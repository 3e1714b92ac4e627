"""What producers send: each field at its limits, and wrong in each way."""

from math import inf, nan

import pytest

from osqueue_service.limits import DEFAULT_LIMITS, Limits
from osqueue_service.rpc.fields import TypeNames, Violations
from osqueue_service.rpc.queue_service.submissions import SubmissionReader
from osqueue_service.state.model import JobSpec, RetryPolicy
from osqueue_service.state.unique import AfterDead, IfRunning, InSequence, OnConflict, Scope, Unique, Until
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS


def read(limits: Limits = DEFAULT_LIMITS, **fields: object) -> tuple[JobSpec, Violations]:
    wrong = Violations()
    request = queue_pb2.SubmitJobRequest(**{"payload": b"{}", **fields})
    reader = SubmissionReader(limits, TypeNames(limits.type_chars))
    return reader.read(queue_pb2.SubmitJobRequest.FromString(request.SerializeToString()), NOW_MS, wrong), wrong


def accepted(**fields: object) -> JobSpec:
    spec, wrong = read(**fields)
    wrong.check()
    return spec


def refused(**fields: object) -> dict[str, str]:
    _, wrong = read(**fields)
    assert wrong
    return dict(wrong.refusal().violations)


def test_a_bare_job_asks_for_nothing():
    assert accepted() == JobSpec("", b"{}")


def test_everything_that_is_said_is_kept():
    spec = accepted(
        payload=b"\x00\xff",
        max_attempts=5,
        type="mail:v2/high",
        priority=-7,
        run_at=NOW_MS + 5_000,
        lease_ms=60_000,
        timeout_ms=90_000,
        retry_policy=job_pb2.RetryPolicy(initial_ms=100, multiplier=3, max_ms=9_000, jitter=0.25),
        idempotency_key="order 17",
        metadata={"trace": "00-ab-cd-01"},
        retention_ms=DAY_MS,
    )
    assert spec == JobSpec(
        "mail:v2/high", b"\x00\xff", -7, 5, NOW_MS + 5_000, 60_000, 90_000, DAY_MS, "order 17",
        RetryPolicy(100, 3.0, 9_000, 0.25), {"trace": "00-ab-cd-01"},
    )  # fmt: skip


def test_equal_types_are_one_string():
    reader = SubmissionReader(DEFAULT_LIMITS, TypeNames(128))
    job = queue_pb2.SubmitJobRequest(payload=b"1", type="a-type-of-its-own")
    specs = [
        reader.read(queue_pb2.SubmitJobRequest.FromString(job.SerializeToString()), NOW_MS, Violations())
        for _ in range(2)
    ]
    assert specs[0].type is specs[1].type


EDGES = [
    ("payload", b"x" * 1_048_576, b"x" * 1_048_577),
    ("max_attempts", 1, 0),
    ("max_attempts", 1_000, 1_001),
    ("max_attempts", 2, -1),
    ("type", "t" * 128, "t" * 129),
    ("priority", 1_000, 1_001),
    ("priority", -1_000, -1_001),
    ("run_at", NOW_MS + YEAR_MS, NOW_MS + YEAR_MS + 1),
    ("run_at", 1, -1),
    ("delay_ms", YEAR_MS, YEAR_MS + 1),
    ("delay_ms", 1, -1),
    ("lease_ms", 100, 99),
    ("lease_ms", 43_200_000, 43_200_001),
    ("lease_ms", 30_000, -1),
    ("timeout_ms", 1, -1),
    ("timeout_ms", 7 * DAY_MS, 7 * DAY_MS + 1),
    ("idempotency_key", "k" * 128, "k" * 129),
    ("idempotency_key", "with space, é, 漢", "with\nnewline"),
    ("metadata", {"k": "v" * 8_191}, {"k": "v" * 8_192}),
    ("metadata", {"k": "é" * 4_095}, {"k": "é" * 4_096}),
    ("metadata", {"k": "\x00 any value\n"}, {"k\x00": "v"}),
    ("metadata", {"k": ""}, {"": "v"}),
    ("retention_ms", 30 * DAY_MS, 30 * DAY_MS + 1),
    ("retention_ms", 0, -1),
]


@pytest.mark.parametrize(("field", "good", "bad"), EDGES, ids=lambda value: str(value)[:30])
def test_each_field_has_an_edge(field, good, bad):
    accepted(**{field: good})
    assert set(refused(**{field: bad})) == {field}


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("initial_ms", 0, -1),
        ("initial_ms", YEAR_MS, YEAR_MS + 1),
        ("multiplier", 1, 0.999),
        ("multiplier", 1_000, 1_000.1),
        ("multiplier", 2, nan),
        ("multiplier", 2, inf),
        ("multiplier", 2, -inf),
        ("max_ms", 0, -1),
        ("max_ms", YEAR_MS, YEAR_MS + 1),
        ("jitter", 0, -0.001),
        ("jitter", 1, 1.001),
        ("jitter", 0.5, nan),
    ],
)
def test_each_field_of_the_retry_policy_has_an_edge(field, good, bad):
    accepted(retry_policy=job_pb2.RetryPolicy(**{field: good}))
    assert set(refused(retry_policy=job_pb2.RetryPolicy(**{field: bad}))) == {f"retry_policy.{field}"}


def test_a_policy_has_defaults():
    assert accepted(retry_policy=job_pb2.RetryPolicy(initial_ms=50)).retry == RetryPolicy(50, 2.0, 3_600_000, 0.0)


def test_a_first_delay_beyond_the_default_bound_is_the_bound():
    assert accepted(retry_policy=job_pb2.RetryPolicy(initial_ms=2 * DAY_MS)).retry == RetryPolicy(
        2 * DAY_MS, 2.0, 2 * DAY_MS, 0.0
    )


def test_a_bound_below_the_first_delay_is_refused():
    policy = job_pb2.RetryPolicy(initial_ms=100, max_ms=99)
    assert "from 100" in refused(retry_policy=policy)["retry_policy.max_ms"]


@pytest.mark.parametrize("char", [" ", "é", "\x00", "\n", "#", "漢", "%"])
def test_a_type_is_made_of_few_characters(char):
    assert "A-Z a-z 0-9 . _ : / -" in refused(type=f"a{char}b")["type"]


def test_no_payload_is_a_mistake():
    assert refused(payload=b"") == {"payload": "is required"}


@pytest.mark.parametrize("char", ["\x00", "\x1b", "\x7f", "\u2028", "\u202e"])
def test_keys_are_printable(char):
    assert f"U+{ord(char):04X}" in refused(idempotency_key=f"a{char}b")["idempotency_key"]


def test_a_delay_counts_from_queue_time():
    assert accepted(delay_ms=250).run_at == NOW_MS + 250


def test_a_time_that_has_passed_means_at_once():
    assert accepted(run_at=NOW_MS).run_at == 0
    assert accepted(run_at=NOW_MS + 1).run_at == NOW_MS + 1


def test_a_time_and_a_delay_contradict_each_other():
    assert "delay_ms" in refused(run_at=NOW_MS + 1, delay_ms=1)["run_at"]


def test_all_that_is_wrong_is_said_at_once():
    wrong = refused(payload=b"", max_attempts=0, type="?", priority=5_000, lease_ms=1)
    assert list(wrong) == ["payload", "priority", "max_attempts", "lease_ms", "type"]


def test_limits_are_those_of_the_broker():
    _, wrong = read(Limits(payload_bytes=3), payload=b"1234")
    assert wrong.refusal().message == "payload: has 4 bytes; at most 3 are allowed (payload_bytes)"


# --- unique keys ------------------------------------------------------------------------------------------------------


def unique(**terms: object) -> job_pb2.Unique:
    return job_pb2.Unique(**{"key": "k", **terms})


def test_a_unique_key_has_every_term_that_is_said():
    terms = unique(
        scope="UNIQUE_SCOPE_QUEUE",
        until="UNIQUE_UNTIL_SUCCEEDED",
        on_conflict="UNIQUE_ON_CONFLICT_DEBOUNCE",
        if_running="UNIQUE_IF_RUNNING_CANCEL",
        ttl_ms=5,
        max_wait_ms=9_000,
    )
    spec = accepted(unique=terms, delay_ms=100)
    assert spec.unique == Unique("k", Scope.QUEUE, Until.SUCCEEDED, OnConflict.DEBOUNCE, IfRunning.CANCEL, 5, 9_000)
    assert accepted(unique=unique()).unique == Unique("k")


def test_without_a_word_a_job_is_put_off_ten_times_its_delay():
    spec = accepted(unique=unique(on_conflict="UNIQUE_ON_CONFLICT_DEBOUNCE"), delay_ms=100)
    assert spec.unique is not None and spec.unique.max_wait_ms == 1_000


@pytest.mark.parametrize(
    ("terms", "field", "says"),
    [
        ({"key": ""}, "key", "is required"),
        ({"key": "k" * 129}, "key", "128"),
        ({"key": "a\nb"}, "key", "U+000A"),
        ({"scope": 7}, "scope", "does not know"),
        ({"until": 7}, "until", "does not know"),
        ({"on_conflict": 9}, "on_conflict", "does not know"),
        ({"if_running": 9}, "if_running", "does not know"),
        ({"ttl_ms": -1}, "ttl_ms", "from 0"),
        ({"ttl_ms": YEAR_MS + 1}, "ttl_ms", "from 0"),
        ({"max_wait_ms": -1}, "max_wait_ms", "from 0"),
        ({"max_wait_ms": 5}, "max_wait_ms", "DEBOUNCE"),
        ({"until": "UNIQUE_UNTIL_STARTED", "if_running": "UNIQUE_IF_RUNNING_REJECT"}, "if_running", "STARTED"),
        ({"on_conflict": "UNIQUE_ON_CONFLICT_DEBOUNCE"}, "on_conflict", "needs delay_ms"),
    ],
)
def test_what_is_wrong_with_a_unique_key_is_named(terms, field, says):
    assert says in refused(unique=unique(**terms))[f"unique.{field}"]


def test_a_job_is_put_off_at_least_as_long_as_its_delay():
    terms = unique(on_conflict="UNIQUE_ON_CONFLICT_DEBOUNCE", max_wait_ms=99)
    assert "at least delay_ms" in refused(unique=terms, delay_ms=100)["unique.max_wait_ms"]
    terms.max_wait_ms = 100
    accepted(unique=terms, delay_ms=100)


def test_a_unique_key_and_its_time_may_be_as_long_as_the_limits_say():
    accepted(unique=unique(key="k" * 128, ttl_ms=YEAR_MS))
    terms = unique(on_conflict="UNIQUE_ON_CONFLICT_DEBOUNCE", max_wait_ms=10 * YEAR_MS)
    accepted(unique=terms, delay_ms=100)
    terms.max_wait_ms += 1
    assert "unique.max_wait_ms" in refused(unique=terms, delay_ms=100)


# --- sequences --------------------------------------------------------------------------------------------------------


def test_a_sequence_is_kept_as_it_is_said():
    assert accepted(sequence_key="account 7").sequence == InSequence("account 7", AfterDead.HOLD)
    skipping = accepted(sequence_key="k" * 128, sequence_after_dead="SEQUENCE_AFTER_DEAD_SKIP")
    assert skipping.sequence == InSequence("k" * 128, AfterDead.SKIP)


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"sequence_key": "k" * 129}, "sequence_key", "128"),
        ({"sequence_key": "a\nb"}, "sequence_key", "U+000A"),
        ({"sequence_key": "k", "sequence_after_dead": 7}, "sequence_after_dead", "does not know"),
        ({"sequence_after_dead": 1}, "sequence_after_dead", "goes with a sequence_key"),
    ],
)
def test_what_is_wrong_with_a_sequence_is_named(fields, field, says):
    assert says in refused(**fields)[field]
