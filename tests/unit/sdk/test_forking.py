"""Clients and processes that fork: nothing hangs, and what cannot work says so."""

import asyncio
import os
import subprocess
import sys
import textwrap

import pytest

from osqueue_service.testing.in_process import broker_in_process

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

PREAMBLE = """
import asyncio, multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
from osqueue import SyncClient
url = sys.argv[1]
context = multiprocessing.get_context("fork")

def count(client=None):
    try:
        client = client or SyncClient(url, retry_deadline_ms=0)
        return client.get_stats().counts.total
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def in_a_fork(*arguments):
    with context.Pool(1) as pool:
        return pool.apply_async(count, arguments).get(30)
"""


@pytest.fixture
async def run():
    async with broker_in_process() as broker:

        async def run(program):
            arguments = [sys.executable, "-c", PREAMBLE + textwrap.dedent(program), f"grpc://{broker.address}"]
            done = await asyncio.to_thread(subprocess.run, arguments, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            return done.stdout

        yield run


async def test_a_fork_of_a_process_that_is_connected_is_refused_at_once(run):
    """As with `gunicorn --preload` and a submit at import, or multiprocessing."""
    said = await run("""
        client = SyncClient(url)
        client.submit_job("t", 1)
        print(in_a_fork())
    """)
    assert "TransportConfigError" in said
    assert "post_fork" in said


async def test_a_fork_before_the_first_connection_is_as_good_as_any_process(run):
    said = await run("""
        unused = SyncClient(url)
        print(in_a_fork())
        print(count(unused))
    """)
    assert said.split() == ["0", "0"]


async def test_a_handler_may_fork_processes_that_do_not_connect(run):
    said = await run("""
        from osqueue import OsqueueClient, Worker

        def double(number):
            return 2 * number

        def handler(payload):
            with ProcessPoolExecutor(2, mp_context=context) as pool:
                return sum(pool.map(double, payload))

        async def main():
            async with OsqueueClient(url) as client:
                handles = [await client.submit_job("t", [1, 2], max_attempts=1) for _ in range(10)]
                await Worker(client, {"t": handler}, concurrency=2).run(until_idle=True)
                print({await handle.result() for handle in handles})

        asyncio.run(main())
    """)
    assert said.strip() == "{6}"
