"""Attend: standbys stay with this broker while it leads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from osqueue_service.clock import Clock
from osqueue_service.leadership import Standby, Standbys
from osqueue_service.rpc.broker import Peer
from osqueue_service.rpc.fields import Violations, check_count, check_name
from osqueue_service.rpc.handlers import Context
from osqueue_stubs.osqueue.v1 import standby_pb2

TELL_MS = 250
"""How often the leader says how far it is, where that has changed."""

FEATURES_MAX = 1_000
"""Features that a standby may say it understands: a release knows a few dozen at most."""

Positions = AsyncIterator[standby_pb2.AttendRequest]


class Attendance:
    """Serves Attend."""

    def __init__(self, broker: Peer, clock: Clock) -> None:
        self._broker = broker
        self._clock = clock

    async def Attend(self, positions: Positions, context: Context) -> AsyncIterator[standby_pb2.AttendResponse]:
        """What this leader means to do, until its term is over or the standby hangs up."""
        standbys, engine = self._broker.standbys, self._broker.engine
        first = await anext(positions, None)
        if first is None:
            return
        self._check(first)
        standby = standbys.enter(first.address, first.followed, first.release, frozenset(first.features))
        loop = asyncio.get_running_loop()
        reading = loop.create_task(self._read(positions, standbys, standby))
        leaving, over = loop.create_task(standbys.leaving.wait()), loop.create_task(standbys.over.wait())
        tasks: tuple[asyncio.Task[Any], ...] = (reading, leaving, over)
        try:
            told = -1
            while not (reading.done() or leaving.done()):
                if engine.sequence != told:
                    told = engine.sequence
                    yield standby_pb2.AttendResponse(sequence=told)
                with suppress(TimeoutError):  # then it is time to say how far the leader is
                    either = asyncio.wait((reading, leaving), return_when=asyncio.FIRST_COMPLETED)
                    await self._clock.within_ms(TELL_MS, either)
            if not reading.done():
                yield standby_pb2.AttendResponse(leaving=True, sequence=engine.sequence)
                await asyncio.wait((reading, over), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
            elif standbys.chosen is standby:
                yield standby_pb2.AttendResponse(leaving=True, yours=True)
        finally:
            for task in tasks:
                task.cancel()
            standbys.leave(standby)

    async def _read(self, positions: Positions, standbys: Standbys, standby: Standby) -> None:
        async for position in positions:
            self._check(position)
            standbys.advance(standby, position.followed)

    def _check(self, position: standby_pb2.AttendRequest) -> None:
        wrong = Violations()
        check_name(position.address, "address", self._broker.limits.id_chars, wrong, required=True)
        check_name(position.release, "release", self._broker.limits.id_chars, wrong)
        check_count(len(position.features), "features", FEATURES_MAX, "FEATURES_MAX", wrong)
        for index, feature in enumerate(position.features[:FEATURES_MAX]):
            check_name(feature, f"features[{index}]", self._broker.limits.id_chars, wrong, required=True)
        if position.followed < 0:
            wrong.add("followed", f"is {position.followed}; a commit's number is 0 or above")
        wrong.check()
