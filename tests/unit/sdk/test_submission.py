"""A job is checked before it joins others in a batch."""

from datetime import UTC, datetime

import pytest

from osqueue import BrokerProtocolError, JobType, RetryPolicy, new_job


def test_options_reach_the_job():
    policy = RetryPolicy(100, multiplier=3, max_ms=1_000, jitter=0.5)
    spec = new_job(
        "email", {"a": 1}, max_attempts=5, priority=-3, delay_ms=10, lease_ms=1_000, timeout_ms=2_000,
        retry_policy=policy, idempotency_key="k", metadata={"tenant": "ö"}, retention_ms=0,
    )  # fmt: skip
    assert (spec.type, spec.payload, spec.max_attempts, spec.priority) == ("email", b'{"a":1}', 5, -3)
    assert (spec.delay_ms, spec.lease_ms, spec.timeout_ms, spec.retention_ms) == (10, 1_000, 2_000, 0)
    assert (spec.retry_policy, spec.idempotency_key, spec.metadata) == (policy, "k", {"tenant": "ö"})


def test_a_datetime_is_a_point_in_time():
    assert new_job("t", 1, run_at=datetime(2030, 1, 1, tzinfo=UTC)).run_at == 1_893_456_000_000
    assert new_job("t", 1, run_at=5).run_at == 5


def test_none_is_an_option_left_out():
    assert new_job("t", 1, max_attempts=None).max_attempts is None


def test_a_job_type_lends_its_name():
    email = JobType("email", int)
    assert new_job(email, 3).type == "email"
    assert new_job(email, 3).job_type is email


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"max_attempts": "3"}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"max_attempts": 2**31}, "max_attempts"),
        ({"priority": 1.5}, "priority"),
        ({"delay_ms": 2**63}, "delay_ms"),
        ({"lease_ms": "1"}, "lease_ms"),
        ({"timeout_ms": b"1"}, "timeout_ms"),
        ({"retention_ms": -(2**70)}, "retention_ms"),
        ({"run_at": datetime(2030, 1, 1)}, "run_at"),
        ({"run_at": "tomorrow"}, "run_at"),
        ({"idempotency_key": 5}, "idempotency_key"),
        ({"idempotency_key": "\ud800"}, "idempotency_key"),
        ({"metadata": "a=b"}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata['a']"),
        ({"metadata": {1: "a"}}, "metadata"),
        ({"retry_policy": {"initial_ms": 5}}, "retry_policy"),
        ({"retry_policy": RetryPolicy(1.5)}, "retry_policy.initial_ms"),
        ({"retry_policy": RetryPolicy(1, jitter="much")}, "retry_policy.jitter"),
    ],
)
def test_a_wrong_option_is_named(options, field):
    with pytest.raises(BrokerProtocolError) as refused:
        new_job("t", 1, **options)
    assert [violation.field for violation in refused.value.violations] == [field]


def test_an_unknown_option_is_a_mistake_in_the_program():
    with pytest.raises(TypeError, match="there is no option 'prioritty'; there are: max_attempts, priority"):
        new_job("t", 1, prioritty=3)


@pytest.mark.parametrize("job_type", ["\ud800", JobType("\udfff")])
def test_a_type_must_be_text_that_can_travel(job_type):
    with pytest.raises(BrokerProtocolError, match="type"):
        new_job(job_type, 1)


def test_the_size_counts_what_travels():
    small = new_job("t", b"x")
    large = new_job("t", b"x" * 1_000, metadata={"k": "v" * 100})
    assert large.wire_bytes - small.wire_bytes >= 1_099
