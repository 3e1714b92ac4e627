"""GetState, and the figures of storage, workers, history and dead letters."""

import asyncio

from osqueue_service.rpc.admin_service.state import CHUNK_JOBS
from osqueue_stubs.osqueue.v1 import admin_pb2, job_pb2, queue_pb2
from tests.calls import claim, complete, fail, submit, submit_many, until
from tests.integration.test_work_stream import Worker


async def state(admin) -> list[admin_pb2.GetStateResponse]:
    return [chunk async for chunk in admin.GetState(admin_pb2.GetStateRequest())]


async def test_the_state_of_an_empty_queue_is_its_header(app, admin):
    (chunk,) = await state(admin)
    header = chunk.header
    assert (header.broker, header.grpc_address) == (app.broker.addresses.broker, app.address)
    assert len(header.incarnation) == 26 and header.broker_heartbeat > 0 and header.format == 2
    assert (header.jobs_total, header.completed_total, len(chunk.jobs)) == (0, 0, 0)
    assert header.position.epoch == 1


async def test_the_state_shows_live_jobs_in_order_with_payloads(queue, admin):
    ids = await submit_many(queue, 4)
    await complete(queue, await claim(queue))
    await claim(queue)
    (chunk,) = await state(admin)
    assert [job.id for job in chunk.jobs] == ids[1:]
    assert [job.payload for job in chunk.jobs] == [b"1", b"2", b"3"]
    assert [job.status for job in chunk.jobs] == ["in_progress", "unclaimed", "unclaimed"]
    assert (chunk.header.jobs_total, chunk.header.completed_total) == (3, 1)


async def test_a_large_state_comes_in_chunks(queue, admin):
    ids = await submit_many(queue, 1_000)
    ids += [await submit(queue, b"x" * 700_000) for _ in range(3)]
    chunks = await state(admin)
    assert [chunk.HasField("header") for chunk in chunks] == [True] + [False] * (len(chunks) - 1)
    assert [job.id for chunk in chunks for job in chunk.jobs] == ids
    assert max(len(chunk.jobs) for chunk in chunks) == CHUNK_JOBS
    assert max(chunk.ByteSize() for chunk in chunks) < 2 * 1024 * 1024


async def test_a_caller_that_leaves_a_large_state_unread_holds_nothing_up(queue, admin):
    for _ in range(5):
        await submit_many(queue, 1_000)
    call = admin.GetState(admin_pb2.GetStateRequest())
    await call.read()
    call.cancel()
    assert (await queue.GetStats(queue_pb2.GetStatsRequest())).total == 5_000


async def test_what_storage_did_is_counted(queue, admin):
    await submit_many(queue, 10)
    figures = await admin.GetStorageStats(admin_pb2.GetStorageStatsRequest())
    assert (figures.backend, figures.location) == ("memory", "memory")
    assert figures.commits >= 2 and figures.records >= 2 and figures.segment_bytes > 0
    assert figures.last_commit_at >= figures.since > 0
    puts = {each.operation: each for each in figures.operations}
    assert puts["put_if_absent"].requests >= figures.commits
    assert not figures.HasField("throttle") and not figures.HasField("cost")
    assert figures.position.epoch == 1


async def test_workers_and_what_they_hold(queue, admin):
    await submit_many(queue, 2)
    claimed = await claim(queue, "w1", types=[], worker_version="1.2")
    await claim(queue, "w2", types=["mail"], wait_ms=1)
    listed = (await admin.ListWorkers(admin_pb2.ListWorkersRequest())).workers
    assert [(each.worker_id, each.leases, list(each.types)) for each in listed] == [("w1", 1, []), ("w2", 0, ["mail"])]
    assert list(listed[0].job_ids) == [claimed.job_id] and listed[0].version == "1.2"


async def test_dead_letters_by_error(queue, admin):
    for error in ("A", "B", "B"):
        await submit(queue)
        await fail(queue, await claim(queue), retryable=False, error=job_pb2.JobError(type=error, message="why"))
    groups = (await admin.GroupDead(admin_pb2.GroupDeadRequest())).groups
    assert [(each.error_type, each.count, each.sample_message) for each in groups] == [("B", 2, "why"), ("A", 1, "why")]


async def test_the_recent_past(queue, admin):
    await submit_many(queue, 3)
    await complete(queue, await claim(queue))
    points = (await admin.GetHistory(admin_pb2.GetHistoryRequest())).points
    assert sum(point.submitted for point in points) == 3
    assert sum(point.completed for point in points) == 1


async def explained(queue, job_id: str) -> str:
    return (await queue.ExplainJob(queue_pb2.ExplainJobRequest(job_id=job_id))).message


async def test_a_worker_is_what_all_its_lanes_say(queue, admin):
    """One lane runs a job and does not claim, while another of the same worker goes on claiming."""
    await submit(queue, type="slow")
    await claim(queue, "w1", types=["slow"])
    waiting = await submit(queue, type="slow")
    await claim(queue, "w1", types=["quick"], wait_ms=1)
    assert "all 1 workers that take the type 'slow' are busy" in await explained(queue, waiting)
    (listed,) = (await admin.ListWorkers(admin_pb2.ListWorkersRequest())).workers
    assert set(listed.types) == {"slow", "quick"}
    types = (await queue.GetStats(queue_pb2.GetStatsRequest())).types
    assert [(each.type, each.workers) for each in types] == [("slow", 1)]


async def test_a_worker_without_slots_left_for_a_type_is_busy_with_that_type(queue, admin):
    quick, slow = await Worker(queue, slots=10, types=["quick"]).start(), Worker(queue, slots=1, types=["slow"])
    await slow.start()
    await submit(queue, type="slow")
    await slow.until(lambda: len(slow.jobs) == 1)
    waiting = await submit(queue, type="slow")
    assert "all 1 workers that take the type 'slow' are busy" in await explained(queue, waiting)
    (listed,) = (await admin.ListWorkers(admin_pb2.ListWorkersRequest())).workers
    assert (listed.slots, listed.leases, set(listed.types)) == (11, 1, {"quick", "slow"})
    await slow.send(slots=2)
    await slow.until(lambda: len(slow.jobs) == 2)
    (listed,) = (await admin.ListWorkers(admin_pb2.ListWorkersRequest())).workers
    assert (listed.slots, listed.leases) == (12, 2)
    quick.call.cancel()


async def test_a_worker_that_waits_for_jobs_is_not_busy(app, queue, admin):
    """A poll says no slots: what the worker holds does not tell whether it has room for more."""
    await submit(queue, type="mail")
    await claim(queue, "w1", types=["mail"])
    polling = asyncio.ensure_future(claim(queue, "w1", types=["mail"], wait_ms=30_000))
    await until(lambda: app.broker.engine.waiting_claims == 1)
    await admin.PauseTypes(admin_pb2.PauseTypesRequest(types=["mail"]))
    waiting = await submit(queue, type="mail")
    said = await explained(queue, waiting)
    assert "paused" in said and "busy" not in said
    polling.cancel()
