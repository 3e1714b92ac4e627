"""What runs in a guard's process; `osqueue.guard` starts it.

It is told by one line of JSON, shares the worker's board of leases, and ends when its standard
input does. Then, if the worker did not say goodbye, it has died, and its jobs are given back.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from osqueue.errors import OsqueueError
from osqueue.failures import describe
from osqueue.job import JobError
from osqueue.lease_board import BoardReader, Entry
from osqueue.leases import AGAIN_AFTER, BATCH_LEASES, CALL_TIMEOUT_MS, CALM_TICK_S, RENEW_AFTER, TICK_MAX_S
from osqueue.messages import Failure, Heartbeat, Release
from osqueue.retrying import is_outage
from osqueue.suspects import GIVEN_BACK_MAX, Suspects
from osqueue.transports.protocol import Transport

log = logging.getLogger("osqueue.guard")

SILENT_S = 0.75
"""A keeper that was not heard of for this long cannot renew leases: somebody holds the interpreter's lock."""

DYING_S = 1.2
"""How long a handler's own process may outlive its worker; its job is not given back before."""

NOTICED_S = 0.3
"""How long others on this machine take to read a note of suspects."""

GIVE_BACK_S = 20.0
"""How long a guard tries to give back what its worker held."""


class GuardProcess:
    """Renews and gives back in its worker's place."""

    def __init__(self, board: BoardReader, worker_id: str, transport: Transport, suspects: Suspects) -> None:
        self._board = board
        self._worker_id = worker_id
        self._transport = transport
        self._suspects = suspects
        self._next: dict[str, float] = {}
        """By token: when a lease that this process renewed is due again."""

    @property
    def pause_s(self) -> float:
        """How long to wait before the next look."""
        return CALM_TICK_S if self._board.empty else TICK_MAX_S

    async def tick(self) -> None:
        """Renew what is due, if the worker's keeper does not."""
        stamped_at, _ = self._board.stamped()
        if not stamped_at or time.monotonic() - stamped_at < SILENT_S:
            self._next.clear()
            return
        now = time.monotonic()
        due = [entry for entry in self._board.entries() if now >= self._due_at(entry)]
        for start in range(0, len(due), BATCH_LEASES):
            await self._renew(due[start : start + BATCH_LEASES], now)

    def _due_at(self, entry: Entry) -> float:
        return self._next.get(entry.token, entry.asked_at + entry.length_s * RENEW_AFTER)

    async def _renew(self, entries: list[Entry], now: float) -> None:
        beats = [Heartbeat(entry.job_id, self._worker_id, entry.token) for entry in entries]
        part = RENEW_AFTER
        try:
            await self._transport.heartbeat_jobs(beats, timeout_ms=CALL_TIMEOUT_MS)
        except OsqueueError as error:
            part = AGAIN_AFTER
            log.info("cannot renew %d leases, trying on: %s", len(entries), error)
        for entry in entries:
            self._next[entry.token] = now + entry.length_s * part

    async def worker_gone(self) -> None:
        """Give the jobs of a worker that died back. One that ran alone is what it died of, and its attempt counts; of
        several any may be it: they are noted, to be run apart, and none of their attempts counts."""
        if self._board.stamped()[1]:
            return
        entries = list(self._board.entries())
        begun = [entry for entry in entries if entry.begun_at]
        if not entries:
            return
        pause_s = NOTICED_S if begun else 0.0
        if begun:
            self._suspects.note([entry.job_id for entry in begun])
        if any(entry.in_process for entry in begun):
            pause_s = DYING_S
        with contextlib.suppress(OsqueueError):
            beats = [Heartbeat(entry.job_id, self._worker_id, entry.token) for entry in entries[:BATCH_LEASES]]
            await self._transport.heartbeat_jobs(beats, timeout_ms=CALL_TIMEOUT_MS)
        await asyncio.sleep(pause_s)
        alone = len(begun) == 1
        async with asyncio.timeout(GIVE_BACK_S):
            await asyncio.gather(*(self._let_go(entry, alone and entry.begun_at > 0) for entry in entries))

    async def _let_go(self, entry: Entry, to_blame: bool) -> None:
        if entry.begun_at and not to_blame and entry.attempt > GIVEN_BACK_MAX:
            return  # its lease expires, and that counts: it must not come back for ever
        lease = entry.job_id, self._worker_id, entry.token
        error = JobError("WorkerDied", "the worker's process ended while it ran this job and no other")
        while True:
            try:
                if to_blame:
                    failure = Failure(*lease, describe(error), True, None, uuid.uuid4().hex)
                    await self._transport.fail_job(failure, timeout_ms=CALL_TIMEOUT_MS)
                else:
                    release = Release(*lease, uuid.uuid4().hex)
                    await self._transport.release_job(release, timeout_ms=CALL_TIMEOUT_MS)
                return
            except OsqueueError as failed:
                if not is_outage(failed):
                    return
            await asyncio.sleep(TICK_MAX_S)


async def _watch(told: dict[str, Any]) -> None:
    guard = GuardProcess(BoardReader(told["board"]), told["worker_id"], _transport(told), Suspects(Path(told["notes"])))
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_read_to_the_end, args=(loop, gone), daemon=True).start()
    # A fork of the worker may hold the pipe open longer than the worker lives.
    while not gone.is_set() and os.getppid() == told["parent"]:
        await guard.tick()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(guard.pause_s):
                await gone.wait()
    await guard.worker_gone()


def _read_to_the_end(loop: asyncio.AbstractEventLoop, gone: asyncio.Event) -> None:
    sys.stdin.read()
    loop.call_soon_threadsafe(gone.set)


def _transport(told: dict[str, Any]) -> Transport:
    from osqueue.connecting import connect
    from osqueue.credentials import Credentials, Tls

    tls = Tls(told["ca_file"], told["cert_file"], told["key_file"])
    connector = connect(
        told["endpoints"],
        storage=None,
        prefix="",
        transport=told["transport"],
        credentials=Credentials(told["token"], told.get("token_file", ""), tls),
        queue=told.get("queue", ""),
    )
    return connector.own()


def main(told: dict[str, Any]) -> None:
    """Guard until the worker ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # whoever signals all processes of a service means the worker
    asyncio.run(_watch(told))
