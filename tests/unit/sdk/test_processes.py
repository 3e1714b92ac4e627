"""Handlers in processes of their own."""

import asyncio
import os
import signal
import subprocess
import sys

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


@pytest.mark.parametrize("function", [jobs.with_children, jobs.with_an_executor])
async def test_a_handler_may_use_processes_of_its_own(client, function):
    handle = await client.submit_job("t", [1, 2, 3], max_attempts=1)
    await work(client, function)
    assert await handle.result() == 14


async def test_processes_of_a_handler_heed_signals(client):
    handle = await client.submit_job("t", 1, max_attempts=1)
    await work(client, jobs.terminate_my_pool)
    assert await handle.result() == "ended"


async def test_a_signal_to_a_process_that_was_just_forked_is_not_lost(client):
    handle = await client.submit_job("t", 30, max_attempts=1)
    await work(client, jobs.terminate_what_was_just_forked)
    assert await handle.result() == [signal.SIGTERM] * 30


async def test_a_signal_to_all_processes_leaves_the_handlers_to_the_worker(client):
    handle = await client.submit_job("t", 1, max_attempts=1)
    await work(client, jobs.signalled)
    assert await handle.result() == "done"


async def test_a_program_that_exits_when_it_is_imported_fails_the_attempt(client, queue):
    worker = Worker(client, {"t": Handler(jobs.double, runs_in="process")}, concurrency=1)
    worker._handlers["t"].function = jobs.ExitsWhenRead()
    handle = await client.submit_job("t", 1, max_attempts=1)
    await worker.run(until_idle=True, handle_signals=False)
    assert queue.jobs[handle.id].error.type == "SystemExit"


@pytest.mark.parametrize(("options", "processes"), [({"process_max_jobs": 2}, 2), ({"process_max_mb": 1}, 4), ({}, 1)])
async def test_a_process_is_replaced_after_so_many_jobs_or_so_much_memory(client, options, processes):
    handles = [await client.submit_job("t", n) for n in range(4)]
    worker = Worker(client, {"t": Handler(jobs.double, runs_in="process")}, concurrency=1, **options)
    await worker.run(until_idle=True, handle_signals=False)
    assert len({(await handle.result())["pid"] for handle in handles}) == processes


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(*pids):
    while any(is_alive(pid) for pid in pids):
        await asyncio.sleep(0.01)


async def test_what_a_killed_handler_has_started_ends_with_it(client, queue):
    handle = await client.submit_job("t", 1)
    worker = Worker(client, {"t": Handler(jobs.start_a_child, runs_in="process")}, drain_timeout_ms=0)
    run = asyncio.ensure_future(worker.run(handle_signals=False))
    await progressed(queue, handle.id)
    pids = [int(pid) for pid in queue.jobs[handle.id].progress.message.split()]
    worker.stop()
    await run
    await gone(*pids)


WORKER = """
import asyncio
import sys
from osqueue import Handler, OsqueueClient, Worker
from tests.unit.sdk import jobs_in_processes as jobs
from tests.unit.sdk.memory_transport import MemoryTransport, Queue

async def main():
    queue = Queue()
    async with OsqueueClient(transport=MemoryTransport(queue)) as client:
        handle = await client.submit_job("t", 1)
        worker = Worker(client, {"t": Handler(getattr(jobs, sys.argv[1]), runs_in="process")})
        run = asyncio.ensure_future(worker.run())
        while queue.jobs[handle.id].progress is None:
            await queue.change()
        print(queue.jobs[handle.id].progress.message, flush=True)
        await run

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("handler", ["start_a_child", "hold_the_interpreter"])
def test_handlers_and_what_they_started_die_with_a_killed_worker(tmp_path, handler):
    program = tmp_path / "worker.py"
    program.write_text(WORKER)
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen([sys.executable, program, handler], stdout=subprocess.PIPE, text=True, env=env) as worker:
        line = worker.stdout.readline()
        worker.send_signal(signal.SIGKILL)
    asyncio.run(gone(*(int(pid) for pid in line.split())))
