"""A queue in the middle of its day, for screenshots and measurements: producers, workers that fail now and then.

python -m tests.browser.scene localhost:8081 --seconds 60
"""

import argparse
import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc

from osqueue import OsqueueClient, RetryPolicy, new_job
from osqueue.job import JobSpec
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2, queue_pb2_grpc

BACKING_OFF = RetryPolicy(initial_ms=4_000, max_ms=60_000, jitter=0.3)
TENANTS = ("acme", "globex", "initech")

Say = Callable[[float, str], Awaitable[None]]


class Failure(Exception):
    """An attempt went wrong; `for_good`: trying again cannot help."""

    def __init__(self, type: str, message: str, *, for_good: bool = False) -> None:
        super().__init__(message)
        self.error = job_pb2.JobError(type=type, message=message)
        self.for_good = for_good


async def send_mail(job: job_pb2.ClaimedJob, say: Say) -> bytes:
    await asyncio.sleep(random.uniform(0.02, 0.35))
    drawn = random.random()
    if drawn < 0.05:
        raise Failure("SmtpError", "451 4.7.1 greylisted, try again later\n  mx1.example.org, after RCPT TO")
    if drawn < 0.06:
        raise Failure("MailboxUnavailable", "550 5.1.1 no such mailbox", for_good=True)
    return b'{"message_id": "<%x@mx.example.org>", "server": "mx1"}' % random.getrandbits(48)


async def resize(job: job_pb2.ClaimedJob, say: Say) -> bytes:
    for step in range(10):
        await say(step / 10, f"tile {step + 1} of 10")
        await asyncio.sleep(0.2)
        if step == 6 and random.random() < 0.12:
            raise Failure("RenderTimeout", "tile 7 took longer than 30 s")
    return b'{"written": 3}'


async def report(job: job_pb2.ClaimedJob, say: Say) -> bytes:
    for page in range(60):
        await say(page / 60, f"page {page + 1} of 60")
        await asyncio.sleep(0.25)
    return b'{"pages": 60}'


@dataclass
class Worker:
    """One worker on a Work stream."""

    id: str
    type: str
    slots: int
    version: str
    work: Callable[[job_pb2.ClaimedJob, Say], Awaitable[bytes]]

    async def run(self, address: str) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            self.call = queue_pb2_grpc.QueueServiceStub(channel).Work()
            self.writing = asyncio.Lock()
            opened = queue_pb2.WorkOpen(
                worker_id=self.id, types=[self.type], slots=self.slots, worker_version=self.version
            )
            await self._send(open=opened)
            async with asyncio.TaskGroup() as tasks:
                async for frame in self.call:
                    for job in frame.jobs:
                        tasks.create_task(self._do(job))

    async def _do(self, job: job_pb2.ClaimedJob) -> None:
        proof = {"job_id": job.job_id, "lease_token": job.lease_token}

        async def say(fraction: float, message: str) -> None:
            progress = job_pb2.Progress(fraction=fraction, message=message)
            await self._send(heartbeats=[queue_pb2.HeartbeatRequest(**proof, progress=progress)])

        try:
            result = await self.work(job, say)
        except Failure as failure:
            failed = queue_pb2.FailJobRequest(**proof, error=failure.error, retryable=not failure.for_good)
            await self._send(failures=[failed])
        else:
            await self._send(completions=[queue_pb2.CompleteJobRequest(**proof, result=result)])

    async def _send(self, **fields: Any) -> None:
        async with self.writing:
            await self.call.write(queue_pb2.WorkRequest(**fields))


WORKERS = (
    Worker("mailer-1", "email", 4, "mailer 2.3.1", send_mail),
    Worker("mailer-2", "email", 4, "mailer 2.3.1", send_mail),
    Worker("renderer-gpu-0", "image.resize", 3, "renderer 1.9.0", resize),
    Worker("reporter-7", "report", 4, "reporter 0.4.0", report),
)


async def play(address: str, seconds: float) -> None:
    """Keep the queue busy for so long."""
    async with OsqueueClient(f"grpc://{address}") as client:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
                for worker in WORKERS:
                    tasks.create_task(worker.run(address))
                await _produce(client)


async def _produce(client: OsqueueClient) -> None:
    turn = 0
    while True:
        turn += 1
        await client.submit_jobs([*_jobs(turn)])
        await asyncio.sleep(0.25)


def _jobs(turn: int) -> list[JobSpec]:
    labels = {"tenant": random.choice(TENANTS), "trace": f"{turn:08x}"}
    mail = {"to": f"ada+{turn}@example.org", "template": "welcome", "locale": random.choice(("en", "de", "fr"))}
    jobs = [
        new_job("email", mail, max_attempts=2, retry_policy=BACKING_OFF, metadata=labels)
        for _ in range(random.randint(2, 8))
    ]
    if turn % 3 == 0:
        photo = {"source": f"photos/{turn:05}.jpg", "widths": [320, 640, 1280]}
        jobs.append(new_job("image.resize", photo, max_attempts=2, metadata=labels))
    if turn % 24 == 0:
        jobs.append(new_job("report", {"month": "2026-10", "format": "pdf"}, priority=10))
    if turn % 2 == 0:
        jobs.append(new_job("invoice.archive", {"invoice": 4_000 + turn, "year": 2026}, priority=-5))
    if turn % 5 == 0:
        jobs.append(new_job("reminder", {"text": "renew the certificate"}, delay_ms=600_000 * turn))
    return jobs


def main() -> None:
    """For the command line."""
    parser = argparse.ArgumentParser(description="Keep a queue busy.")
    parser.add_argument("address", help="host:port of the broker")
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    asyncio.run(play(given.address, given.seconds))


if __name__ == "__main__":
    main()
