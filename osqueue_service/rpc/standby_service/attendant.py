"""A standby as it attends its leader: it says how far it is, and hears at once when the leader leaves.

Without it (the leader cannot be reached from here, or is of an older release) a standby finds out by the root it
watches, up to one look later, and a leader that leaves does not wait for it.
"""

import asyncio
import logging
from collections.abc import Callable

import grpc
import grpc.aio

from osqueue_service.clock import Clock
from osqueue_service.leadership.pause import Pause
from osqueue_service.release import RELEASE
from osqueue_service.rpc.broker import Peer
from osqueue_stubs.osqueue.v1 import standby_pb2

log = logging.getLogger(__name__)

ATTEND = "/osqueue.v1.StandbyService/Attend"

TELL_MS = 1_000
"""How often a standby says how far it is, where that has changed;"""
TELL_CLOSELY_MS = 20
"""and how often once the leader waits for it."""
AGAIN_FIRST_MS = 250
AGAIN_MAX_MS = 30_000
"""A leader that cannot be attended is tried again after twice as long each time, up to this."""

_OPTIONS = [
    # A leader whose machine is gone is noticed, though it never hangs up. The broker allows a ping every 2 s.
    ("grpc.keepalive_time_ms", 3_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    # A channel for each try: the library's own waiting between tries must not be added to ours.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
]

Call = grpc.aio.StreamStreamCall[standby_pb2.AttendRequest, standby_pb2.AttendResponse]


class Attendant:
    """Attends whoever leads, from `start` to `stop`, whenever this broker stands by."""

    def __init__(
        self, broker: Peer, clock: Clock, *, token: str, secure: "Callable[[], grpc.ChannelCredentials] | None"
    ) -> None:
        """`secure`: brokers speak TLS; what to trust of each other, and to show."""
        self._broker = broker
        self._clock = clock
        self._metadata = (("authorization", f"Bearer {token}"),) if token else None
        self._secure = secure
        self._pause = Pause(clock)
        self._attended = False
        self._leaving = False
        self._yours = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Attend from now on."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="attendance")

    async def stop(self) -> None:
        """Stop attending."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        again_ms = AGAIN_FIRST_MS
        while True:
            leader = self._leader()
            self._attended = self._leaving = self._yours = False
            if leader:
                trouble = await self._attend(leader)
                if self._attended:
                    self._broker.look(yours=self._yours)
                    again_ms = AGAIN_FIRST_MS
                elif trouble is not None:
                    # Safe: nothing rests on attendance, and the root tells the same a little later.
                    self._broker.counters.attendances_failed += 1
                    log.debug("cannot attend the leader at %s: %s", leader, trouble)
            await self._rest(leader, again_ms)
            again_ms = min(again_ms * 2, AGAIN_MAX_MS) if leader == self._leader() else AGAIN_FIRST_MS

    async def _rest(self, leader: str, rest_ms: float) -> None:
        """Wait before the next try, no longer than this is the leader to be tried."""
        until_ms = self._clock.monotonic_ms() + rest_ms
        while self._leader() == leader and (left_ms := until_ms - self._clock.monotonic_ms()) > 0:
            await self._clock.sleep_ms(min(left_ms, AGAIN_FIRST_MS))

    def _leader(self) -> str:
        """Whom to attend; "" while this broker leads itself, or knows of no leader."""
        return "" if self._broker.is_leader else self._broker.leader_address

    async def _attend(self, leader: str) -> Exception | None:
        """Stay with the leader until one of the two has enough of it; returns why, where something is wrong."""
        loop = asyncio.get_running_loop()
        async with self._channel(leader) as channel:
            attend = channel.stream_stream(
                ATTEND,
                request_serializer=_serialized,
                response_deserializer=standby_pb2.AttendResponse.FromString,
            )
            call: Call = attend(metadata=self._metadata)
            listening = loop.create_task(self._listen(call))
            telling = loop.create_task(self._tell(call, leader))
            try:
                await asyncio.wait((listening, telling), return_when=asyncio.FIRST_COMPLETED)
            finally:
                telling.cancel()
                listening.cancel()
                call.cancel()
                outcomes = await asyncio.gather(listening, telling, return_exceptions=True)
        return _trouble(outcomes)

    async def _listen(self, call: Call) -> None:
        async for response in call:
            self._attended = True
            self._yours = response.yours
            self._broker.heard(response.sequence)
            if response.leaving and not self._leaving:
                self._leaving = True
                self._broker.hasten(response.sequence)
                self._pause.wake()

    async def _tell(self, call: Call, leader: str) -> None:
        """Say how far this standby is, as long as this is its leader."""
        told: int | None = None
        while self._leader() == leader:
            followed = self._broker.followed
            if followed != told:
                position = standby_pb2.AttendRequest(
                    address=self._broker.addresses.grpc,
                    followed=followed,
                    release=RELEASE,
                    features=sorted(self._broker.understood),
                )
                await call.write(position)
                told = followed
            await self._pause.sleep_ms(TELL_CLOSELY_MS if self._leaving else TELL_MS)

    def _channel(self, leader: str) -> grpc.aio.Channel:
        if self._secure is not None:
            return grpc.aio.secure_channel(leader, self._secure(), options=_OPTIONS)
        return grpc.aio.insecure_channel(leader, options=_OPTIONS)


def _serialized(request: standby_pb2.AttendRequest) -> bytes:
    return request.SerializeToString()


def _trouble(outcomes: tuple[BaseException | None, ...]) -> Exception | None:
    """The failure of a call, the first of both sides'; anything else that was raised is a bug, and raised again."""
    found: Exception | None = None
    for outcome in outcomes:
        if isinstance(outcome, (grpc.aio.AioRpcError, asyncio.InvalidStateError)):
            found = found or outcome  # an InvalidStateError: the call had ended when something was to be written
        elif isinstance(outcome, Exception):
            raise outcome
    return found
