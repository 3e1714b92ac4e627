"""How long a failed job waits."""

import pytest

from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.state.model import Job, JobSpec, RetryPolicy, Status
from osqueue_service.state.retrying import backoff_ms, next_step


@pytest.mark.parametrize(("attempts", "delay_ms"), [(1, 100), (2, 200), (3, 400), (10, 1_000), (1_000, 1_000)])
def test_the_wait_grows_up_to_its_maximum(attempts, delay_ms):
    assert backoff_ms(RetryPolicy(100, 2.0, 1_000, 0.0), attempts, 0.5) == delay_ms


@pytest.mark.parametrize(("jitter", "delay_ms"), [(0.0, 80), (0.5, 100), (0.999999, 120)])
def test_jitter_spreads_it_both_ways(jitter, delay_ms):
    assert backoff_ms(RetryPolicy(100, 2.0, 1_000, 0.2), 1, jitter) == delay_ms


def test_jitter_does_not_lift_it_above_the_maximum():
    assert backoff_ms(RetryPolicy(1_000, 2.0, 1_000, 0.5), 1, 0.999) == 1_000


def test_no_policy_means_at_once():
    assert backoff_ms(RetryPolicy(), 5, 0.9) == 0


@pytest.mark.parametrize("multiplier", [1e6, 1e300, float("inf")])
def test_a_multiplier_of_any_size_stays_below_the_maximum(multiplier):
    assert backoff_ms(RetryPolicy(100, multiplier, 1_000, 0.1), 1_000, 0.5) == 1_000


@pytest.mark.parametrize("multiplier", [0.0, 0.5, 1.0])
def test_a_multiplier_may_shrink_the_wait(multiplier):
    assert 0 <= backoff_ms(RetryPolicy(100, multiplier, 1_000, 0.0), 50, 0.5) <= 100


def job(**fields) -> Job:
    return Job(JobSpec("", b"", max_attempts=3), 1, 0, 1, **fields)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (job(attempts=1), Status.UNCLAIMED),
        (job(attempts=3), Status.DEAD),
        (job(attempts=1, cancel_requested=True), Status.CANCELLED),
        (job(attempts=3, cancel_requested=True), Status.CANCELLED),
    ],
)
def test_where_a_job_goes(given, status):
    assert next_step(given, 1_000, DEFAULT_LIMITS, 0.5) == (status, 0)


def test_a_delay_schedules_it():
    assert next_step(job(attempts=1), 1_000, DEFAULT_LIMITS, 0.5, delay_ms=50) == (Status.SCHEDULED, 1_050)
