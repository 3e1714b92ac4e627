"""GetJob, WaitJob, ListJobs and GetStats over the wire."""

import asyncio

import pytest

from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2
from tests.calls import claim, complete, fail, refused, submit, submit_many


def listing(**fields) -> queue_pb2.ListJobsRequest:
    return queue_pb2.ListJobsRequest(**fields)


async def walk(queue, **fields) -> list[list[str]]:
    pages, token = [], ""
    while True:
        answer = await queue.ListJobs(listing(page_token=token, **fields))
        pages.append([job.id for job in answer.jobs])
        assert answer.truncated is bool(answer.next_page_token)
        token = answer.next_page_token
        if not token:
            return pages


class TestGetJob:
    async def test_a_fresh_job(self, queue):
        job_id = await submit(queue, b"abc", type="t")
        answer = await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id))
        job = answer.job
        assert (job.id, job.status, job.payload, job.type, job.payload_bytes) == (job_id, "unclaimed", b"abc", "t", 3)
        assert (job.max_attempts, job.max_attempts_set, job.effective_max_attempts) == (0, False, 3)
        assert not job.HasField("retention_ms") and not job.HasField("retry_policy") and not job.HasField("error")
        assert answer.position.epoch == 1 and answer.position.sequence > 0

    async def test_a_running_job_shows_its_lease(self, queue):
        await submit(queue)
        claimed = await claim(queue, "w7")
        job = (await queue.GetJob(queue_pb2.GetJobRequest(job_id=claimed.job_id))).job
        assert (job.status, job.worker_id, job.attempts, job.attempt_number) == ("in_progress", "w7", 1, 1)
        assert job.claimed_at and job.heartbeat and job.lease_expires_at > job.claimed_at
        (attempt,) = job.history
        assert (attempt.number, attempt.worker_id, attempt.ended_at) == (1, "w7", 0)

    async def test_the_limit_of_an_attempt_caps_the_lease_that_is_shown(self, queue):
        await submit(queue, timeout_ms=5_000)
        claimed = await claim(queue)
        job = (await queue.GetJob(queue_pb2.GetJobRequest(job_id=claimed.job_id))).job
        assert job.lease_expires_at == job.claimed_at + 5_000

    @pytest.mark.parametrize("linearizable", [False, True])
    async def test_an_unknown_job_is_not_found(self, queue, linearizable):
        with refused("JOB_NOT_FOUND"):
            await queue.GetJob(queue_pb2.GetJobRequest(job_id="nowhere", linearizable=linearizable))

    @pytest.mark.parametrize("job_id", ["", "j" * 129, "a\x00"])
    async def test_the_id_is_checked(self, queue, job_id):
        with refused("INVALID_REQUEST") as refusal:
            await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id))
        assert list(refusal.violations) == ["job_id"]


class TestWaitJob:
    async def test_it_answers_as_the_job_finishes(self, queue):
        job_id = await submit(queue)
        waiting = asyncio.ensure_future(queue.WaitJob(queue_pb2.WaitJobRequest(job_id=job_id, wait_ms=30_000)))
        await complete(queue, await claim(queue), result=b"42")
        answer = await waiting
        assert (answer.finished, answer.job.status, answer.job.result) == (True, "completed", b"42")

    async def test_or_when_the_wait_is_over(self, queue):
        job_id = await submit(queue)
        answer = await queue.WaitJob(queue_pb2.WaitJobRequest(job_id=job_id, wait_ms=20))
        assert (answer.finished, answer.job.status) == (False, "unclaimed")

    async def test_or_before_the_deadline(self, queue):
        job_id = await submit(queue)
        answer = await queue.WaitJob(queue_pb2.WaitJobRequest(job_id=job_id, wait_ms=60_000), timeout=0.5)
        assert not answer.finished

    async def test_a_finished_job_is_answered_at_once(self, queue):
        job_id = await submit(queue)
        await fail(queue, await claim(queue), retryable=False)
        answer = await queue.WaitJob(queue_pb2.WaitJobRequest(job_id=job_id, wait_ms=60_000), timeout=10)
        assert (answer.finished, answer.job.status) == (True, "dead")

    async def test_a_job_that_was_let_go_while_it_was_waited_for_is_answered(self, queue):
        job_id = await submit(queue, retention_ms=1)
        asked = queue_pb2.WaitJobRequest(job_id=job_id, wait_ms=30_000)
        waits = [asyncio.ensure_future(queue.WaitJob(asked)) for _ in range(2)]
        await complete(queue, await claim(queue), result=b"42")
        for answer in await asyncio.gather(*waits):
            assert (answer.finished, answer.job.status, answer.job.result) == (True, "completed", b"42")

    async def test_an_unknown_job_is_not_found_at_once(self, queue):
        with refused("JOB_NOT_FOUND"):
            await queue.WaitJob(queue_pb2.WaitJobRequest(job_id="nowhere", wait_ms=60_000))

    async def test_the_fields_are_checked(self, queue):
        with refused("INVALID_REQUEST") as refusal:
            await queue.WaitJob(queue_pb2.WaitJobRequest(job_id="j", wait_ms=-1))
        assert list(refusal.violations) == ["wait_ms"]


class TestOrder:
    async def test_the_next_to_run_comes_first(self, queue):
        late, early = [await submit(queue, delay_ms=delay_ms) for delay_ms in (60_000, 30_000)]
        soonest = {"order": queue_pb2.JOB_ORDER_SOONEST, "filter": job_pb2.JobFilter(statuses=["scheduled"])}
        assert await walk(queue, page_size=1, **soonest) == [[early], [late]]

    async def test_only_scheduled_jobs_have_a_next_one(self, queue):
        with refused("INVALID_REQUEST") as refusal:
            await queue.ListJobs(listing(order=queue_pb2.JOB_ORDER_SOONEST))
        assert list(refusal.violations) == ["order"]

    async def test_an_order_that_is_none_is_refused(self, queue):
        with refused("INVALID_REQUEST") as refusal:
            await queue.ListJobs(listing(order=77))
        assert list(refusal.violations) == ["order"]

    async def test_a_token_belongs_to_its_order(self, queue):
        await submit_many(queue, 3)
        newest = await queue.ListJobs(listing(order=queue_pb2.JOB_ORDER_NEWEST, page_size=1))
        with refused("INVALID_REQUEST") as refusal:
            await queue.ListJobs(listing(page_token=newest.next_page_token))
        assert list(refusal.violations) == ["page_token"]


class TestListJobs:
    async def test_the_empty_request_lists_live_jobs_in_order(self, queue):
        ids = await submit_many(queue, 4)
        await complete(queue, await claim(queue))
        await claim(queue)
        answer = await queue.ListJobs(listing())
        assert [job.id for job in answer.jobs] == ids[1:]
        assert (answer.total, answer.unclaimed, answer.in_progress, answer.completed_total) == (3, 2, 1, 1)
        assert answer.counts.submitted_total == 4
        assert not answer.truncated and not answer.next_page_token

    async def test_a_thousand_jobs_are_a_page_and_one_more_makes_two(self, queue):
        ids = await submit_many(queue, 1_000)
        assert await walk(queue) == [ids]
        ids.append(await submit(queue))
        assert await walk(queue) == [ids[:1_000], ids[1_000:]]

    async def test_a_page_has_at_most_three_mebibytes(self, queue):
        ids = [await submit(queue, b"x" * 1024 * 1024) for _ in range(4)]
        assert await walk(queue) == [ids[:2], ids[2:]]
        assert await walk(queue, view=job_pb2.JOB_VIEW_BASIC) == [ids]

    async def test_views_show_more_or_less(self, queue):
        await submit(queue, b"abc")
        await complete(queue, await claim(queue), result=b"r")
        done = job_pb2.JobFilter(statuses=["completed"])
        shown = {}
        for view in job_pb2.JobView.values():
            (job,) = (await queue.ListJobs(listing(filter=done, view=view))).jobs
            assert (job.payload_bytes, job.result_bytes) == (3, 1)
            shown[view] = (job.payload, job.result, len(job.history))
        assert shown == {
            job_pb2.JOB_VIEW_UNSPECIFIED: (b"abc", b"", 0),
            job_pb2.JOB_VIEW_BASIC: (b"", b"", 0),
            job_pb2.JOB_VIEW_FULL: (b"abc", b"r", 1),
        }

    async def test_a_filter_and_pages(self, queue):
        for number in range(10):
            await submit(queue, type=f"t{number % 2}")
        pages = await walk(queue, filter=job_pb2.JobFilter(types=["t1"]), page_size=2)
        assert [len(page) for page in pages] == [2, 2, 1]

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"page_size": -1}, "page_size"),
            ({"page_size": 1_001}, "page_size"),
            ({"page_token": "nonsense"}, "page_token"),
            ({"view": 7}, "view"),
            ({"filter": job_pb2.JobFilter(statuses=["gone"])}, "filter.statuses[0]"),
        ],
    )
    async def test_the_fields_are_checked(self, queue, fields, named):
        with refused("INVALID_REQUEST") as refusal:
            await queue.ListJobs(listing(**fields))
        assert list(refusal.violations) == [named]

    async def test_a_token_goes_with_its_filter(self, queue):
        await submit_many(queue, 3)
        token = (await queue.ListJobs(listing(page_size=1))).next_page_token
        with refused("INVALID_REQUEST") as refusal:
            await queue.ListJobs(listing(page_token=token, filter=job_pb2.JobFilter(types=["t"])))
        assert list(refusal.violations) == ["page_token"]


class TestGetStats:
    @pytest.mark.parametrize("linearizable", [False, True])
    async def test_it_counts(self, queue, linearizable):
        await submit_many(queue, 5)
        await submit(queue, delay_ms=60_000)
        await complete(queue, await claim(queue))
        await fail(queue, await claim(queue), retryable=False)
        await claim(queue)
        stats = await queue.GetStats(queue_pb2.GetStatsRequest(linearizable=linearizable))
        assert (stats.total, stats.unclaimed, stats.in_progress, stats.scheduled) == (4, 2, 1, 1)
        assert (stats.completed_total, stats.dead, stats.cancelled) == (1, 1, 0)
        counts = stats.counts
        assert (counts.total, counts.submitted_total, counts.completed, counts.dead_total) == (4, 6, 1, 1)
        assert stats.bytes > 0
        assert stats.position.epoch == 1

    async def test_an_empty_queue(self, queue):
        stats = await queue.GetStats(queue_pb2.GetStatsRequest())
        assert stats.counts == job_pb2.JobCounts()
        assert stats.position.commit_lag_ms == 0
