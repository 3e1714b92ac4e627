"""A client and a worker of the SDK through kill -9 of their broker: nothing is lost, and nobody hears an error."""

import asyncio
import sys
from collections import Counter

import pytest

from osqueue import OsqueueClient, Worker
from osqueue_cli.processes import Children, free_ports, serving, start_broker
from osqueue_service.storage.file import FileStore

pytestmark = pytest.mark.e2e

KILLS = 3
JOBS_BETWEEN_KILLS = 300
START_LIMIT_S = 20.0


async def test_the_leader_is_followed_from_address_to_address(tmp_path):
    """The broker comes back on another port each time; the queue's own storage says where."""
    done: Counter[str] = Counter()
    grown = asyncio.Event()

    async def count(payload: int) -> int:
        done[str(payload)] += 1
        grown.set()
        return payload

    async def produce(client: OsqueueClient, first: int) -> list[str]:
        handles = await asyncio.gather(*(client.submit_job("t", first + n) for n in range(JOBS_BETWEEN_KILLS)))
        return [handle.id for handle in handles]

    queue = tmp_path / "queue"
    async with Children(tmp_path / "logs") as children:
        ports = free_ports(KILLS + 1)
        broker = await start_broker(children, queue, ports[0])
        await serving(f"grpc://127.0.0.1:{ports[0]}", broker, START_LIMIT_S)
        store = FileStore.open(queue, read_only=True)
        async with OsqueueClient(storage=store) as producer, OsqueueClient(storage=store) as consumer:
            worker = Worker(consumer, {"t": count}, concurrency=20)
            working = asyncio.create_task(worker.run(handle_signals=False))
            ids: list[str] = []
            for number, port in enumerate(ports[1:]):
                producing = asyncio.create_task(produce(producer, number * JOBS_BETWEEN_KILLS))
                goal = done.total() + 20
                while done.total() < goal:
                    grown.clear()
                    await grown.wait()
                await broker.kill()
                broker = await start_broker(children, queue, port)
                ids += await producing
            assert len(set(ids)) == KILLS * JOBS_BETWEEN_KILLS
            for job_id in ids:
                assert (await producer.wait_job(job_id)).status == "completed"
            assert producer.state().address == consumer.state().address == f"127.0.0.1:{ports[-1]}"
            counts = (await producer.get_stats()).counts
            assert counts.submitted_total == counts.completed_total == len(ids)
            worker.stop()
            await working
            assert worker.tally.unsettled == 0
        await store.close()


async def test_a_fork_is_told_to_make_its_own_client(tmp_path):
    code = """
import asyncio, os, sys
from osqueue import OsqueueClient, TransportConfigError

client = OsqueueClient(sys.argv[1])

async def use():
    try:
        await client.get_stats()
    except TransportConfigError as error:
        print(error)
        return 0
    return 1

async def main():
    await client.get_stats()
    if (child := os.fork()) == 0:
        return None
    return os.waitpid(child, 0)[1]

status = asyncio.run(main())
if status is None:
    os._exit(asyncio.run(use()) or sys.stdout.flush() or 0)
sys.exit(status)
"""
    async with Children(tmp_path / "logs") as children:
        (port,) = free_ports(1)
        url = f"grpc://127.0.0.1:{port}"
        broker = await start_broker(children, tmp_path / "queue", port)
        await serving(url, broker, START_LIMIT_S)
        program = tmp_path / "forking.py"
        program.write_text(code)
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(program), url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert "connect only after the fork" in output.decode()
