"""One broker's channel, and whether it still speaks.

A broker whose process is frozen, or whose network swallows packets, keeps its connection and answers nothing: the calls
there would wait to their last moment while another broker leads. So while calls wait and nothing comes back, the peer
is asked whether it lives, which a broker answers at once whatever else it does.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from osqueue_protocol.rpcs import CLIENT_RPCS

SILENCE_S = 5.0
"""How long nothing may come from a peer that owes answers, before it is asked whether it lives."""

PROBE_S = 1.0
"""How long it may take to say so, and how often a silent one is asked again."""

FORGET_S = 60.0
"""A silent peer that nobody has called for this long is not asked again."""

_HEALTH = "/grpc.health.v1.Health/Check"
_NO_ANSWER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


METHODS: dict[str, tuple[str, Any, str]] = {
    name: (
        rpc.path,
        rpc.response,
        ("stream" if rpc.client_streaming else "unary") + ("_stream" if rpc.server_streaming else "_unary"),
    )
    for name, rpc in CLIENT_RPCS.items()
}
"""Method name → (path, response class, kind: what the channel's method that makes its calls is called)."""


class Peer:
    """A channel to one address, its prepared calls, and those under way."""

    __slots__ = ("_methods", "_watching", "abandoned", "calls", "channel", "heard_at", "retired")

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.calls: set[Any] = set()
        """Calls under way, as gRPC's own objects."""
        self.heard_at = float("-inf")
        """When (the loop's time) it last sent anything."""
        self.abandoned = False
        """It fell silent: its calls were cancelled, and not by their callers."""
        self.retired = False
        """No new calls are made here."""
        self._methods: dict[str, Any] = {}
        self._watching: asyncio.Task[None] | None = None

    def method(self, name: str) -> Any:
        """What makes a call of this RPC."""
        call = self._methods.get(name)
        if call is None:
            path, answer, kind = METHODS[name]
            call = self._methods[name] = getattr(self.channel, kind)(
                path,
                request_serializer=lambda request: request.SerializeToString(),
                response_deserializer=answer.FromString,
            )
        return call

    def watch(self, silence_s: float, on_silence: Callable[[], None]) -> None:
        """Ask it whether it lives whenever calls wait and it is silent; say so once when it does not answer."""
        if self._watching is None:
            self._watching = asyncio.ensure_future(self._watch(silence_s, on_silence))
            self._watching.add_done_callback(self._watched)

    def abandon(self) -> None:
        """End all calls: their callers hear of an outage."""
        self.abandoned = True
        for call in self.calls:
            call.cancel()

    async def answers(self) -> bool:
        """Whether it lives: any answer counts, a refusal as well."""
        ask: Any = self.channel.unary_unary(_HEALTH, request_serializer=None, response_deserializer=None)
        try:
            await ask(b"", timeout=PROBE_S)
        except grpc.aio.AioRpcError as error:
            return error.code() not in _NO_ANSWER
        return True

    async def speaks(self, within_s: float) -> bool:
        """Whether it answers again within that time."""
        clock = asyncio.get_running_loop().time
        ends = clock() + within_s
        while clock() < ends:
            if await self.answers():
                return True
            await asyncio.sleep(PROBE_S)
        return False

    async def close(self) -> None:
        """Close the channel; idempotent."""
        if self._watching is not None:
            self._watching.cancel()
        await self.channel.close()

    async def _watch(self, silence_s: float, on_silence: Callable[[], None]) -> None:
        clock = asyncio.get_running_loop().time
        while self.calls:
            await asyncio.sleep(silence_s)
            if not self.calls or clock() - self.heard_at < silence_s:
                continue
            if await self.answers():
                self.heard_at = clock()
            elif clock() - self.heard_at >= silence_s:
                on_silence()
                return

    def _watched(self, watching: "asyncio.Task[None]") -> None:
        self._watching = None
