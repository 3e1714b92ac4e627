"""Handlers in processes of their own."""

import asyncio
import os

import pytest

from osqueue import Handler, Worker
from tests.unit.sdk import jobs_in_processes as jobs


async def work(client, function, **options):
    worker = Worker(client, {"t": Handler(function, runs_in="process", **options)}, concurrency=1)
    await worker.run(until_idle=True, handle_signals=False)
    return worker


async def progressed(queue, job_id):
    while queue.jobs[job_id].progress is None:
        await queue.change()


async def test_a_process_is_reused(client):
    handles = [await client.submit_job("t", n) for n in (1, 2)]
    await work(client, jobs.double)
    first, second = [await handle.result() for handle in handles]
    assert (first["value"], second["value"]) == (2, 4)
    assert first["pid"] == second["pid"] != os.getpid()


async def test_the_context_reaches_the_process(client, queue):
    queue.lease_ms = 100
    handle = await client.submit_job("t", 1)
    await work(client, jobs.with_context)
    assert await handle.result() == [handle.id, 1]


@pytest.mark.parametrize(
    ("function", "status", "error_type"),
    [
        (jobs.raise_odd, "dead", "Odd"),
        (jobs.raise_reject, "dead", "Reject"),
        (jobs.exit_quietly, "dead", "SystemExit"),
        (jobs.kill_myself, "dead", "ProcessDied"),
        (jobs.return_what_cannot_be_pickled, "dead", "TypeError"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
async def test_what_goes_wrong_becomes_the_attempts_failure(client, queue, function, status, error_type):
    handle = await client.submit_job("t", 1, max_attempts=1)
    await work(client, function)
    job = queue.jobs[handle.id]
    assert (job.status, job.error.type) == (status, error_type)


async def test_classes_of_exceptions_are_known_across_processes(client, queue):
    handle = await client.submit_job("t", 1, max_attempts=5)
    await work(client, jobs.raise_odd, fatal=(ValueError,))
    job = queue.jobs[handle.id]
    assert (job.status, job.attempts, job.error.type) == ("dead", 1, "Odd")
    assert "odd indeed\n  at " in job.error.message


async def test_a_retry_keeps_its_delay(client):
    delays = []
    worker = Worker(
        client,
        {"t": Handler(jobs.raise_retry, runs_in="process")},
        on_failed=lambda job, error, settled: (delays.append(settled.run_at), worker.stop())[1],
    )
    await client.submit_job("t", 1)
    await worker.run(handle_signals=False)
    assert delays[0] == 70


async def test_a_dead_process_is_replaced(client, queue):
    first = await client.submit_job("t", 1, max_attempts=1)
    await work(client, jobs.kill_myself)
    assert queue.jobs[first.id].status == "dead"
    second = await client.submit_job("t", 1)
    await work(client, jobs.double)
    assert (await second.result())["value"] == 2


async def test_a_cancellation_reaches_the_process(client, queue):
    queue.lease_ms = 60
    handle = await client.submit_job("t", 1)
    running = asyncio.ensure_future(work(client, jobs.wait_for_cancellation))
    await progressed(queue, handle.id)
    await handle.cancel()
    await running
    assert await handle.result() == "stopped in time"


async def test_a_lost_lease_kills_the_process(client, queue):
    queue.lease_ms = 60
    handle = await client.submit_job("t", 1)
    worker = Worker(client, {"t": Handler(jobs.wait_forever, runs_in="process")}, on_lost=lambda job: worker.stop())
    running = asyncio.ensure_future(worker.run(handle_signals=False))
    await progressed(queue, handle.id)
    del queue.tokens[handle.id]
    await running
    assert worker.tally.lost == 1


async def test_a_drained_worker_leaves_no_process_behind(client, queue):
    handle = await client.submit_job("t", 1)
    queue.lease_ms = 60
    worker = Worker(client, {"t": Handler(jobs.wait_forever, runs_in="process")}, drain_timeout_ms=0)
    running = asyncio.ensure_future(worker.run(handle_signals=False))
    await progressed(queue, handle.id)
    worker.stop()
    await running
    assert queue.jobs[handle.id].status == "unclaimed"
