"""Protobuf calls to whichever broker leads: channels, deadlines, the token, and following the leader.

This is the layer below the SDK's own types; a gateway that translates other protocols into
the same RPCs stands on it too. One attempt per call: `osqueue.retrying` repeats.
"""

# Before gRPC is imported: it reads its environment then.
from osqueue.transports import forking  # isort: skip

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from osqueue.credentials import Credentials
from osqueue.errors import (
    NOT_LEADER,
    BrokerLeadershipError,
    DiscoveryError,
    OsqueueError,
    TransportConnectionError,
    TransportRequestError,
)
from osqueue.transports.addresses import Endpoint
from osqueue.transports.causes import is_loopback
from osqueue.transports.grpc_errors import from_rpc_error
from osqueue.transports.grpc_peer import FORGET_S, SILENCE_S, Peer

LeaderFinder = Callable[[], Awaitable[str]]
"""Finds the leader's gRPC address, host:port; raises `DiscoveryError` when there is none."""

GONE_S = 1.0
"""How long an address that could not be reached is passed over where there is another: a standby may name a leader that
has just left until it next looks at the root."""

OWN_SOCKET = "unix:"
"""What the address of a broker in the same process begins with; TLS is for the way to others."""

PEERS_MAX = 8
"""Channels kept open. Leaders that moved on leave one behind each."""

CHANNEL_OPTIONS = [
    # How large a message may be is the broker's to say; a limit here would fail every claim that a larger job is in.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A connection that went dead without a word is noticed within 5 s, with calls or without. The broker allows a ping
    # every 2 s; where something between allows fewer, the library pings less often by itself. Newer libraries heed
    # ping_timeout_ms, older ones keepalive_timeout_ms.
    ("grpc.keepalive_time_ms", 3_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A restarted broker is found again within a failover's time.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # In spite of its name: how long one attempt to connect may take. The library gives 20 s, too long for a host that
    # is gone; 2 s are several round trips to the far side of the earth.
    ("grpc.min_reconnect_backoff_ms", 2_000),
    # Retrying is ours: it needs request ids and the leader's address.
    ("grpc.enable_retries", 0),
    # Each client has its own connection; a shared one would be shared with its troubles.
    ("grpc.use_local_subchannel_pool", 1),
]


Metadata = tuple[tuple[str, str], ...] | None


class BrokerLink:
    """Calls by name on the current address, which moves to the leader as errors tell where it is."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint] = (),
        *,
        token: str | Credentials = "",
        find_leader: LeaderFinder | None = None,
        silence_s: float = SILENCE_S,
    ) -> None:
        """`silence_s`: how long a broker that owes answers may say nothing before it is asked whether it lives."""
        self._endpoints = tuple(endpoints)
        self._addresses = [endpoint.authority for endpoint in endpoints]
        self._secure = bool(endpoints) and endpoints[0].secure
        self._credentials = Credentials.of(token)
        self._find_leader = find_leader
        self._finding: asyncio.Task[str] | None = None
        self._metadata = _bearing(self._credentials.fixed or "")
        self._address = self._addresses[0] if self._addresses else ""
        self._peers: dict[str, Peer] = {}
        self._closing: set[asyncio.Future[None]] = set()
        self._hops = 0
        self._silence_s = silence_s
        self._silent: dict[str, asyncio.Task[None]] = {}
        """Addresses that fell silent, each with what waits for it to speak again."""
        self._heard = False
        """A broker has answered a call of this link."""
        self._gone: dict[str, float] = {}
        """Addresses that could not be reached, and when (monotonic)."""

    @property
    def address(self) -> str:
        """Where calls go at the moment; empty before the leader was found."""
        return self._address

    def clone(self) -> "BrokerLink":
        """Another link to the same brokers, not connected yet."""
        return BrokerLink(
            self._endpoints, token=self._credentials, find_leader=self._find_leader, silence_s=self._silence_s
        )

    async def close(self) -> None:
        """Close all channels; idempotent."""
        for waiting in self._silent.values():
            waiting.cancel()
        self._silent.clear()
        peers, self._peers = list(self._peers.values()), {}
        for peer in peers:
            await peer.close()

    async def call(self, name: str, request: Any, timeout_ms: int, *, token: str = "") -> Any:
        """One attempt of the unary RPC `name`. `token`: another than the link's own."""
        address = self._address or await self._discover()
        metadata = self._metadata if not token and self._credentials.fixed is not None else await self._shown(token)
        peer = self._peer(address)
        asked_at = self._clock()
        call = peer.method(name)(request, timeout=timeout_ms / 1_000, metadata=metadata)
        self._began(call, peer, address)
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and peer.heard_at < asked_at:
                self._retire(address, peer)
            # No local may hold what is raised: frame and error would keep each other, and the request with them.
            raise await self._refused(
                self._error(error, name, address, timeout_ms), address, peer, None if token else metadata
            ) from error
        except asyncio.CancelledError:
            if not peer.abandoned or _cancelled():
                raise
            raise await self._silence(address) from None
        finally:
            self._let_go(peer, call)
        peer.heard_at = self._clock()
        self._hops = 0
        self._heard = True
        return answer

    async def stream(self, name: str, request: Any, *, token: str = "") -> AsyncIterator[Any]:
        """The messages of the stream `name`, until the broker or the connection ends it. A stream in both directions
        takes an iterator of messages as its request. `token`: another than the link's own."""
        address = self._address or await self._discover()
        metadata = await self._shown(token)
        peer = self._peer(address)
        call = peer.method(name)(request, metadata=metadata)
        self._began(call, peer, address)
        try:
            async for message in call:
                peer.heard_at = self._clock()
                self._hops = 0
                yield message
        except grpc.aio.AioRpcError as error:
            raise await self._refused(
                self._error(error, name, address, 0), address, peer, None if token else metadata
            ) from error
        except asyncio.CancelledError:
            if not peer.abandoned or _cancelled():
                raise
            raise await self._silence(address) from None
        finally:
            self._let_go(peer, call)
            call.cancel()

    async def _shown(self, token: str) -> Metadata:
        return _bearing(token or await self._credentials.token())

    def _began(self, call: Any, peer: Peer, address: str) -> None:
        peer.calls.add(call)
        # Where there is nobody else to turn to, waiting is all that can be done.
        if self._find_leader is not None or any(each != address for each in self._addresses):
            peer.watch(self._silence_s, lambda: self._fell_silent(address, peer))

    def _fell_silent(self, address: str, peer: Peer) -> None:
        """End what waits there, and pass the address over until it speaks again."""
        if self._peers.get(address) is peer:
            del self._peers[address]
        peer.abandon()
        self._close_later(peer)
        if address not in self._silent:
            waiting = self._silent[address] = asyncio.ensure_future(self._await_speech(address))
            waiting.add_done_callback(lambda _: self._silent.pop(address, None))

    async def _await_speech(self, address: str) -> None:
        peer = self._open(address)
        try:
            await peer.speaks(within_s=FORGET_S)
        finally:
            self._close_later(peer)

    async def _silence(self, address: str) -> OsqueueError:
        error = f"the broker at {address} fell silent: it keeps its connection and answers nothing"
        return await self._failed(TransportConnectionError(error), address)

    def _error(self, error: grpc.aio.AioRpcError, name: str, address: str, timeout_ms: int) -> OsqueueError:
        return from_rpc_error(error, name, address, timeout_ms, secure=self._secure, heard=self._heard)

    async def _refused(self, error: OsqueueError, address: str, peer: Peer, own: Metadata) -> OsqueueError:
        """As `_failed`; of a call that showed the link's `own` token, also whether another one is at hand."""
        failed = await self._failed(error, address, peer)
        return failed if own is None else await self._credentials.after(failed, _borne(own))

    async def _failed(self, error: OsqueueError, address: str, peer: Peer | None = None) -> OsqueueError:
        """Move on to where the leader may be; `retry_after_ms` 0 tells the caller to try there at once. `peer` is
        who answered so, if anybody did."""
        if peer is not None and not isinstance(error, (TransportConnectionError, TransportRequestError)):
            peer.heard_at = self._clock()
        if isinstance(error, BrokerLeadershipError) and error.reason == NOT_LEADER:
            if error.leader and error.leader != address and not self._is_gone(error.leader):
                if self._address == address:
                    self._address = error.leader
                    self._hops += 1
                # Brokers that point at each other must not make us spin.
                if self._hops <= 1:
                    error.retry_after_ms = 0
            else:
                await self._move_on(address)
        elif isinstance(error, (TransportConnectionError, TransportRequestError)):
            self._gone = {each: at for each, at in self._gone.items() if self._is_gone(each)}
            self._gone[address] = time.monotonic()
            await self._move_on(address)
        return error

    def _is_gone(self, address: str) -> bool:
        return address in self._silent or time.monotonic() - self._gone.get(address, -GONE_S) < GONE_S

    async def _move_on(self, address: str) -> None:
        if self._address != address:
            return  # another call has moved on already
        if self._find_leader is not None:
            try:
                await self._discover()
            except DiscoveryError:
                self._address = ""  # nobody leads at the moment; the next attempt looks again
            return
        addresses = self._addresses
        after = addresses.index(address) + 1 if address in addresses else 0
        others = addresses[after:] + addresses[:after]
        self._address = next((each for each in others if not self._is_gone(each)), others[0])

    async def _discover(self) -> str:
        """Ask the storage; concurrent callers share one look."""
        assert self._find_leader is not None, "without a finder there is always an address"
        if self._finding is None:
            self._finding = asyncio.ensure_future(self._find_leader())
            self._finding.add_done_callback(self._found)
        address = await asyncio.shield(self._finding)
        self._address = address
        return address

    def _found(self, finding: "asyncio.Task[str]") -> None:
        self._finding = None
        if not finding.cancelled():
            finding.exception()  # whoever still waits is told; that nobody waits is not an error

    def _peer(self, address: str) -> Peer:
        peer = self._peers.get(address)
        if peer is None:
            if len(self._peers) >= PEERS_MAX:
                self._drop_idle()
            peer = self._peers[address] = self._open(address)
        return peer

    def _retire(self, address: str, peer: Peer) -> None:
        """Nothing was heard on this connection for as long as a call took: the next call opens another. What still
        waits here may yet be answered."""
        if self._peers.get(address) is peer:
            del self._peers[address]
        peer.retired = True

    def _let_go(self, peer: Peer, call: Any) -> None:
        peer.calls.discard(call)
        if peer.retired and not peer.calls:
            self._close_later(peer)

    def _open(self, address: str) -> Peer:
        forking.opening()
        options = [*CHANNEL_OPTIONS, ("grpc.enable_http_proxy", 0)] if is_loopback(address) else CHANNEL_OPTIONS
        if self._secure and not address.startswith(OWN_SOCKET):
            return Peer(grpc.aio.secure_channel(address, self._credentials.tls.channel_credentials(), options=options))
        return Peer(grpc.aio.insecure_channel(address, options=options))

    def _drop_idle(self) -> None:
        for address, peer in list(self._peers.items()):
            if address != self._address and not peer.calls:
                del self._peers[address]
                self._close_later(peer)
                return

    def _close_later(self, peer: Peer) -> None:
        closing = asyncio.ensure_future(peer.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    @staticmethod
    def _clock() -> float:
        return asyncio.get_running_loop().time()


def _bearing(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),) if token else None


def _borne(metadata: Metadata) -> str:
    return metadata[0][1].removeprefix("Bearer ") if metadata else ""


def _cancelled() -> bool:
    """Whether somebody wants the current task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
