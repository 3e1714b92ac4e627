"""A broker's own defaults for jobs that do not say how long an attempt may take, or how many there are."""

from collections.abc import AsyncIterator

import pytest

from osqueue import OsqueueClient, new_job
from osqueue_service.testing.in_process import broker_in_process


@pytest.fixture
async def client() -> AsyncIterator[OsqueueClient]:
    settings = {"DEFAULT_TIMEOUT_MS": "60000", "DEFAULT_MAX_ATTEMPTS": "1"}
    async with broker_in_process(settings=settings) as broker, OsqueueClient(f"grpc://{broker.address}") as client:
        yield client


async def test_a_job_that_says_nothing_has_them(client):
    alone = await client.submit_job("t", 1)
    (batched,) = await client.submit_jobs([new_job("t", 2)])
    for handle in (alone, batched):
        job = await handle.job()
        assert (job.timeout_ms, job.effective_max_attempts) == (60_000, 1)
    for claimed in await client.claim_jobs("w", max_jobs=2):
        assert (claimed.timeout_ms, claimed.max_attempts) == (60_000, 1)
        assert (await client.fail_job(claimed, "no")).status == "dead"


async def test_a_job_that_says_it_has_its_own(client):
    job = await (await client.submit_job("t", 1, timeout_ms=5, max_attempts=2)).job()
    assert (job.timeout_ms, job.effective_max_attempts) == (5, 2)


async def test_what_comes_of_other_jobs_has_them_too(client):
    workflow = client.workflow("w")
    workflow.add("n", new_job("t", 3))
    await workflow.submit()
    first = (await client.claim_jobs("w"))[0]
    done = await client.complete_job(first, follow_ups=[new_job("t", 4)])
    followed = await client.get_job(done.follow_ups[0].job_id)
    assert [first.timeout_ms, followed.timeout_ms] == [60_000, 60_000]


async def test_a_repeated_submission_is_the_same_job(client):
    first = await client.submit_job("t", 1, idempotency_key="k")
    again = await client.submit_job("t", 1, idempotency_key="k")
    assert (again.id, again.deduplicated) == (first.id, True)
