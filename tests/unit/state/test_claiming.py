"""Claiming: order, budgets, claim keys, what the worker is told."""

from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.state.commands import Claim
from osqueue_service.state.model import Status
from tests.core import Core


def job_ids(granted) -> list[str]:
    return [one.job_id for one in granted]


def test_an_empty_queue_hands_out_nothing_and_commits_nothing():
    core = Core()
    assert core.claim() == []
    assert len(core.log) == 1


def test_what_the_worker_is_told():
    core = Core()
    job_id = core.submit("mail", b"payload", max_attempts=2, lease_ms=5_000, metadata={"a": "b"})
    granted = core.claim_one("w1")
    assert (granted.job_id, granted.attempt, granted.lease_ms, granted.max_attempts) == (job_id, 1, 5_000, 2)
    assert granted.spec.payload == b"payload" and granted.spec.metadata == {"a": "b"}
    assert granted.created_at == core.now_ms
    job = core.job(job_id)
    assert job.status is Status.IN_PROGRESS and job.lease is not None
    assert (job.lease.token, job.lease.worker_id, job.attempts, job.claims) == (granted.token, "w1", 1, 1)
    core.check_replay()


def test_defaults_apply_where_the_job_says_nothing():
    core = Core()
    core.submit()
    granted = core.claim_one()
    assert granted.lease_ms == DEFAULT_LIMITS.default_lease_ms
    assert granted.max_attempts == DEFAULT_LIMITS.default_max_attempts


def test_the_lease_of_the_claim_wins_over_that_of_the_job():
    core = Core()
    core.submit(lease_ms=5_000)
    assert core.claim_one(lease_ms=7_000).lease_ms == 7_000


def test_the_types_a_worker_names():
    core = Core()
    a, b, c = core.submit("a"), core.submit("b"), core.submit("c")
    assert job_ids(core.claim(max_jobs=5, types=["c", "b"])) == [b, c]
    assert job_ids(core.claim(max_jobs=5)) == [a]


def test_no_more_than_asked_for():
    core = Core()
    jobs = [core.submit() for _ in range(4)]
    assert job_ids(core.claim(max_jobs=3)) == jobs[:3]
    assert job_ids(core.claim(max_jobs=3)) == jobs[3:]


def test_no_more_than_there_are_tokens_for():
    core = Core()
    core.submit()
    assert core.do(Claim("w", max_jobs=1, tokens=[])) == []


def test_no_more_bytes_than_asked_for_but_always_one():
    core = Core()
    for _ in range(4):
        core.submit(payload=b"x" * 1_000)
    assert len(core.claim(max_jobs=4, max_bytes=10)) == 1
    assert len(core.claim(max_jobs=4, max_bytes=2 * (1_000 + 400))) == 2


class TestClaimKeys:
    def test_a_repeated_claim_answers_with_the_same_leases(self):
        core = Core()
        core.submit()
        core.submit()
        first = core.claim("w", 2, claim_key="k")
        commits = len(core.log)
        assert core.claim("w", 2, claim_key="k") == first
        assert len(core.log) == commits

    def test_after_a_recovery_too(self):
        core = Core()
        core.submit()
        first = core.claim("w", claim_key="k")
        core.state = core.rebuilt()
        assert core.claim("w", claim_key="k") == first

    def test_only_for_the_same_worker(self):
        core = Core()
        core.submit()
        core.claim("w", claim_key="k")
        assert core.claim("v", claim_key="k") == []

    def test_only_the_leases_that_still_live(self):
        core = Core()
        core.submit()
        core.submit()
        first, second = core.claim("w", 2, claim_key="k")
        core.complete(first)
        assert core.claim("w", 2, claim_key="k") == [second]

    def test_a_key_whose_leases_are_over_claims_anew(self):
        core = Core()
        core.submit()
        first = core.claim_one("w", claim_key="k")
        core.expire(first)
        second = core.claim_one("w", claim_key="k")
        assert second.token != first.token and second.attempt == 2
        core.check_replay()
