"""The gRPC server: one port, the queue, health and reflection."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from osqueue_protocol.callers import is_loopback_name
from osqueue_service.clock import Clock
from osqueue_service.errors import ConfigError
from osqueue_service.ids import IdSource
from osqueue_service.limits import MIB, SECOND_MS, Limits
from osqueue_service.metrics import Calls
from osqueue_service.rpc.access.registry import Registry
from osqueue_service.rpc.auth import Guard
from osqueue_service.rpc.broker import Peer
from osqueue_service.rpc.certificates import Certificates
from osqueue_service.rpc.fields import TypeNames
from osqueue_service.rpc.handlers import Handlers
from osqueue_service.rpc.health import Health
from osqueue_service.rpc.reflection import SERVICE, STABLE_NAME, Reflection
from osqueue_service.rpc.scaler_service.scaler import Scaler
from osqueue_service.rpc.services import ACCESS, ADMIN, QUEUE, STANDBY, add_services
from osqueue_service.rpc.shutdown import Shutdown
from osqueue_service.rpc.standby_service.attendant import Attendant
from osqueue_service.storage.factory import OpenedStore
from osqueue_stubs.externalscaler import externalscaler_pb2

SCALER = externalscaler_pb2.DESCRIPTOR.services_by_name["ExternalScaler"]
"""What KEDA calls."""

if TYPE_CHECKING:
    from osqueue_service.rpc.access.signed.bearers import Bearers

STOP_LIMIT_MS = 2_000
"""How long calls under way may take to end when the server stops; nearly all end at once, because the broker has."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where to listen, and whom to serve. Port 0: any free one.

    With `certificates` the port speaks TLS. `token` and `allow_remote` are those of `Guard`.
    `own_socket` is the path of a socket for callers in this process, to whom it speaks without TLS.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token: str = ""
    allow_remote: bool = False
    certificates: Certificates | None = None
    own_socket: str = ""


class Server:
    """Listens from the moment it is made, so that its port is known and surely its own; serves once started."""

    def __init__(self, settings: ServerSettings, limits: Limits, *, clock: Clock, ids: IdSource) -> None:
        self.calls = Calls()
        self._clock = clock
        self._ids = ids
        self._shutdown = Shutdown()
        self._health = Health(self._shutdown, limits)
        self._guard = Guard(
            settings.token,
            allow_remote=settings.allow_remote,
            certificates=settings.certificates is not None and settings.certificates.asks,
        )
        self._handlers = Handlers(
            guard=self._guard,
            shutdown=self._shutdown,
            limits=limits,
            calls=self.calls,
            clock=clock,
            ids=ids,
            for_strangers=not settings.token and not is_loopback_name(settings.host),
        )
        self._settings = settings
        self._attendant: Attendant | None = None
        self._started = False
        self._server = grpc.aio.server(options=_options(limits), maximum_concurrent_rpcs=limits.calls)
        self.host = settings.host
        self.port = _bind(self._server, settings)
        if settings.own_socket:
            self._server.add_insecure_port(f"unix:{settings.own_socket}")

    async def start(
        self,
        broker: Peer,
        storage: OpenedStore,
        registry: Registry,
        *,
        asks: bool = False,
        bearers: "Bearers | None" = None,
    ) -> None:
        """Serve the broker. While it does not lead, calls answer NOT_LEADER, and it attends whoever does.

        `asks`: let in whoever the registry knows, or the issuer behind `bearers` vouches for, and nobody without a
        token."""
        if asks:
            self._guard.consult(registry, bearers)
        add_services(self._handlers, broker, storage, registry, self._clock, self._ids, asks=asks)
        scaler = Scaler(broker, self._guard, TypeNames(broker.limits.type_chars), self._clock)
        self._handlers.add(SCALER, (scaler,), asks_itself=True)
        reflection = Reflection(
            [each.full_name for each in (QUEUE, ADMIN, ACCESS, STANDBY)] + ["grpc.health.v1.Health"]
        )
        self._handlers.add(SERVICE, [reflection])
        self._handlers.add(SERVICE, [reflection], name=STABLE_NAME)
        self._server.add_generic_rpc_handlers((self._handlers,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        await self._server.start()
        self._started = True
        settings = self._settings
        certificates = settings.certificates
        secure = None if certificates is None else certificates.channel_credentials
        self._attendant = Attendant(broker, self._clock, token=settings.token, secure=secure)
        self._attendant.start()

    @property
    def methods(self) -> frozenset[str]:
        """The methods served, as paths; health is beside them."""
        return self._handlers.methods

    def able(self, able: bool) -> None:
        """Its broker can take over, or cannot because a later release wrote what is stored."""
        self._health.able(able)

    def lead(self, leading: bool) -> None:
        """The broker leads from now on, or no longer does: what its health says."""
        self._health.lead(leading)

    async def stop(self) -> None:
        """Take no more calls and end those under way. Stop the broker first: then each has had its answer."""
        if not self._started:
            # Stopping a server that was never started leaves its port taken.
            await self._server.start()
        if self._attendant is not None:
            await self._attendant.stop()
        self._health.stop()
        self._shutdown.announce()
        await self._server.stop(STOP_LIMIT_MS / SECOND_MS)


def _options(limits: Limits) -> list[tuple[str, Any]]:
    return [
        # Two brokers on one port would each get some of the calls; a port in use must be an error instead.
        ("grpc.so_reuseport", 0),
        # Above our own limit, so that our error answers, which says what to do, and not the library's.
        ("grpc.max_receive_message_length", limits.message_bytes + MIB),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", limits.connection_calls),
        # Clients may ping every 2 s, calls or not, to notice a dead connection within 5.
        ("grpc.http2.min_ping_interval_without_data_ms", 2 * SECOND_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        # A client that vanished without a word should not keep its long poll.
        ("grpc.keepalive_time_ms", 10 * SECOND_MS),
        ("grpc.keepalive_timeout_ms", 5 * SECOND_MS),
        ("grpc.http2.ping_timeout_ms", 5 * SECOND_MS),
    ]


def _bind(server: grpc.aio.Server, settings: ServerSettings) -> int:
    """The port that the server listens on."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.port}"
    try:
        if settings.certificates is not None:
            return server.add_secure_port(address, settings.certificates.server_credentials())
        return server.add_insecure_port(address)
    except RuntimeError:
        raise ConfigError(
            f"BROKER_HOST, BROKER_GRPC_PORT: cannot listen on {address}: another process has the port, or the address "
            "is not this machine's. Choose another port, or stop the other process"
        ) from None
