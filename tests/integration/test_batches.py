"""Batches over the wire, and in the SDK: what is refused, what is counted, what is submitted at the end."""

import pytest

import osqueue
from osqueue_stubs.osqueue.v1 import batches_pb2, batches_pb2_grpc, job_pb2, queue_pb2
from tests.calls import claim, complete, fail, holder, refused


@pytest.fixture
def batches(channel) -> batches_pb2_grpc.BatchServiceStub:
    return batches_pb2_grpc.BatchServiceStub(channel)


@pytest.fixture
async def client(app):
    async with osqueue.OsqueueClient(app.address) as client:
        yield client


def template(name: str) -> job_pb2.JobTemplate:
    return job_pb2.JobTemplate(type=name, payload=b"{}")


async def opened(batches, **fields: object) -> str:
    called = {name: template(name) for name in ("on_first_dead", "on_success", "on_finished")}
    return (await batches.OpenBatch(batches_pb2.OpenBatchRequest(**{**called, **fields}))).batch_id


async def add(queue, batch_id: str, *types: str, **fields: object) -> list[str]:
    return [
        (
            await queue.SubmitJob(
                queue_pb2.SubmitJobRequest(type=name, payload=b"{}", max_attempts=1, batch_id=batch_id, **fields)
            )
        ).job_id
        for name in types
    ]


async def get(batches, batch_id: str) -> batches_pb2.BatchInfo:
    return (await batches.GetBatch(batches_pb2.GetBatchRequest(batch_id=batch_id))).batch


async def seal(batches, batch_id: str) -> None:
    await batches.SealBatch(batches_pb2.SealBatchRequest(batch_id=batch_id))


async def job_of(queue, job_id: str) -> job_pb2.JobInfo:
    return (await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id))).job


async def test_a_batch_runs_from_end_to_end(queue, batches):
    batch_id = await opened(batches, name="import")
    first, second = await add(queue, batch_id, "a", "b")
    info = await get(batches, batch_id)
    assert (info.name, info.status, info.total, info.live) == ("import", "open", 2, 2)
    assert (await job_of(queue, first)).batch_id == batch_id
    await seal(batches, batch_id)
    await complete(queue, await claim(queue, types=["a"]))
    assert (await get(batches, batch_id)).status == "sealed"
    await fail(queue, await claim(queue, types=["b"]))
    info = await get(batches, batch_id)
    assert (info.status, info.completed, info.dead, info.live) == ("dead", 1, 1, 0)
    assert info.finished_at and info.sealed_at
    assert not info.success_job_id
    told = await claim(queue, types=["on_finished"])
    assert told.job_id == info.finished_job_id
    assert told.came_from == job_pb2.Origin(kind=job_pb2.ORIGIN_KIND_BATCH_FINISHED, batch_id=batch_id)
    assert (await job_of(queue, info.first_dead_job_id)).type == "on_first_dead"
    await queue.RetryJobs(queue_pb2.RetryJobsRequest(filter=job_pb2.JobFilter(batch_id=batch_id)))
    await complete(queue, await claim(queue, types=["b"]))
    info = await get(batches, batch_id)
    assert info.status == "completed"
    assert (await job_of(queue, info.success_job_id)).type == "on_success"
    assert second != first


async def test_jobs_of_a_batch_are_listed_and_those_of_others_are_not(queue, batches):
    one, other = await opened(batches), await opened(batches)
    ids = await add(queue, one, "a", "b", "c")
    await add(queue, other, "a")
    asked = job_pb2.JobFilter(batch_id=one)
    found: list[str] = []
    token = ""
    while True:
        page = await queue.ListJobs(queue_pb2.ListJobsRequest(filter=asked, page_size=2, page_token=token))
        found += [job.id for job in page.jobs]
        token = page.next_page_token
        if not token:
            break
    assert found == ids
    unknown = job_pb2.JobFilter(batch_id="nope")
    assert not (await queue.ListJobs(queue_pb2.ListJobsRequest(filter=unknown))).jobs


async def test_a_running_member_adds_to_a_sealed_batch_and_so_do_its_follow_ups(queue, batches):
    batch_id = await opened(batches)
    await add(queue, batch_id, "a")
    await seal(batches, batch_id)
    running = await claim(queue)
    with refused("INVALID_REQUEST") as refusal:
        await add(queue, batch_id, "b")
    assert list(refusal.violations) == ["batch_id"]
    jobs = [queue_pb2.SubmitJobRequest(type="b", payload=b"{}")]
    request = batches_pb2.AddToBatchRequest(**holder(running), jobs=jobs, request_id="r")
    added = (await batches.AddToBatch(request)).jobs
    assert (await batches.AddToBatch(request)).jobs == added
    follow_up = queue_pb2.SubmitJobRequest(type="c", payload=b"{}", batch_id=batch_id)
    await complete(queue, running, follow_ups=[follow_up])
    info = await get(batches, batch_id)
    assert (info.total, info.live, info.status) == (3, 2, "sealed")
    with refused("LEASE_LOST"):
        await batches.AddToBatch(batches_pb2.AddToBatchRequest(**holder(running), jobs=jobs))


async def test_what_is_wrong_is_named(queue, batches):
    bad = batches_pb2.OpenBatchRequest(
        name="x" * 129, seal_after_ms=-1, parent_batch_id="nope", on_success=job_pb2.JobTemplate(type="t")
    )
    with refused("INVALID_REQUEST") as refusal:
        await batches.OpenBatch(bad)
    assert set(refusal.violations) == {"name", "seal_after_ms", "parent_batch_id", "on_success.payload"}
    too_long = batches_pb2.OpenBatchRequest(seal_after_ms=30 * 24 * 3_600_000 + 1)
    with refused("INVALID_REQUEST") as refusal:
        await batches.OpenBatch(too_long)
    assert list(refusal.violations) == ["seal_after_ms"]
    with refused("INVALID_REQUEST") as refusal:
        await add(queue, "nope", "a")
    assert list(refusal.violations) == ["batch_id"]
    (job_id,) = await add(queue, "", "a")
    with refused("BATCH_NOT_FOUND"):
        await add(queue, job_id, "a")  # an id of this queue, and not that of a batch
    batch_id = await opened(batches)
    with refused("INVALID_REQUEST") as refusal:
        unique = job_pb2.Unique(key="k", on_conflict=job_pb2.UNIQUE_ON_CONFLICT_REPLACE)
        await add(queue, batch_id, "a", unique=unique)
    assert list(refusal.violations) == ["unique"]
    with refused("INVALID_REQUEST") as refusal:
        await batches.ListBatches(batches_pb2.ListBatchesRequest(statuses=["running"]))
    assert list(refusal.violations) == ["statuses[0]"]


async def test_what_does_not_exist_is_not_found(batches):
    for call, request in (
        (batches.GetBatch, batches_pb2.GetBatchRequest(batch_id="nope")),
        (batches.SealBatch, batches_pb2.SealBatchRequest(batch_id="nope")),
        (batches.CancelBatch, batches_pb2.CancelBatchRequest(batch_id="nope")),
    ):
        with refused("BATCH_NOT_FOUND"):
            await call(request)


async def test_batches_are_listed_page_by_page_and_chosen_by_name_and_status(queue, batches):
    ids = [await opened(batches, name=f"b{number % 2}") for number in range(4)]
    await seal(batches, ids[0])

    async def listed(**asked: object) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            page = await batches.ListBatches(batches_pb2.ListBatchesRequest(page_token=token, **asked))
            found += [each.id for each in page.batches]
            token = page.next_page_token
            if not token:
                return found

    assert await listed() == await listed(page_size=1) == ids
    assert await listed(name="b1") == ids[1::2]
    assert await listed(statuses=["completed"]) == ids[:1]
    assert await listed(statuses=["open"], page_size=2) == ids[1:]


async def test_cancelling_ends_what_waits(queue, batches):
    batch_id = await opened(batches)
    await add(queue, batch_id, "a", "b")
    running = await claim(queue, types=["a"])
    assert (await batches.CancelBatch(batches_pb2.CancelBatchRequest(batch_id=batch_id))).live == 2
    info = await get(batches, batch_id)
    assert (info.status, info.cancelled, info.live) == ("sealed", 1, 1)
    assert (await job_of(queue, running.job_id)).cancel_requested
    await complete(queue, running)
    info = await get(batches, batch_id)
    assert (info.status, bool(info.finished_job_id), info.success_job_id) == ("cancelled", True, "")


class TestSdk:
    async def test_a_block_opens_and_seals_a_batch(self, client):
        progress: list[tuple[int, int]] = []
        async with client.batch("b", on_finished=osqueue.new_job("told", None)) as batch:
            await batch.submit("a", 1)
            await batch.submit_jobs([osqueue.new_job("a", number) for number in range(2)])
        worker = osqueue.Worker(client)

        @worker.handler("a")
        async def run(_: object) -> None:
            info = await batch.get()
            progress.append((info.ended, info.total))

        @worker.handler("told")
        async def told(_: object, context: osqueue.JobContext) -> str:
            assert context.job.came_from is not None
            return context.job.came_from.batch_id

        await worker.run(until_idle=True, handle_signals=False)
        info = await batch.wait()
        assert (info.status, info.total, info.completed) == ("completed", 3, 3)
        assert sorted(total for _, total in progress) == [3, 3, 3]
        assert (await client.get_job(info.finished_job_id)).result_value() == batch.id
        assert [each.id async for each in client.list_batches(name="b")] == [batch.id]

    async def test_a_block_that_raises_cancels_it(self, client):
        batch = client.batch()
        with pytest.raises(ZeroDivisionError):
            async with batch:
                await batch.submit("a", 1)
                raise ZeroDivisionError
        assert (await batch.get()).status == "cancelled"

    async def test_one_that_is_not_open_says_so(self, client):
        with pytest.raises(osqueue.BrokerProtocolError, match="not open"):
            await client.batch().seal()

    async def test_progress_is_told_until_the_end(self, client):
        async with client.batch() as batch:
            await batch.submit("a", 1)
            seen = batch.progress(interval_ms=1)
            assert (await anext(seen)).status == "open"
        claimed = await client.claim_job("w")
        assert (await anext(seen)).status == "sealed"
        await client.complete_job(claimed)
        assert [each.status async for each in seen] == ["completed"]

    async def test_a_running_member_adds_to_it(self, client):
        async with client.batch() as batch:
            await batch.submit("a", 1)
        claimed = await client.claim_job("w")
        added = await client.add_to_batch(claimed, [osqueue.new_job("b", 2)])
        assert (await client.get_job(added[0].job_id)).batch_id == batch.id
