"""A broker as a library: `BrokerServer` over an object store of your own.

server = BrokerServer(storage=FileStore.open("queue"), host="127.0.0.1")
await server.start()
...
await server.stop()
"""

from osqueue_service.broker import Broker
from osqueue_service.clock import SystemClock
from osqueue_service.engine.settings import DEFAULT_INTERVAL_MS, EngineSettings
from osqueue_service.errors import ConfigError
from osqueue_service.ids import SystemIds
from osqueue_service.leadership import Addresses, Heartbeat
from osqueue_service.limits import DEFAULT_LIMITS, Limits
from osqueue_service.outward import outward_host
from osqueue_service.rpc.server import Server, ServerSettings
from osqueue_service.storage import ObjectStore
from osqueue_service.storage.factory import OpenedStore
from osqueue_service.storage.file import FileStore
from osqueue_service.storage.instrumented import InstrumentedStore
from osqueue_service.storage.memory import MemoryStore
from osqueue_service.storage.selftest import prove_conditions
from osqueue_service.storage.usage import StoreUsage

_WILDCARDS = ("0.0.0.0", "::")


class BrokerServer:
    """One broker with its port, on a store that you made and that you close.

    The store may be any that passes the conformance suite (`osqueue_service.testing.store_conformance`); at the start
    it must prove that it refuses what it must. `port` 0 takes any free one. `advertise_address` is what others dial,
    host:port; unset, and with a wildcard as `host`, it is this machine's own address towards others. Without `token`,
    only callers on this machine are served, unless `allow_remote`. `group_commit_interval_ms` bounds how long a change
    waits for others to share its commit; a lone one waits for nobody. `commit_spacing_ms` keeps the starts of commits
    that far apart, to save requests. Times are milliseconds.
    """

    def __init__(
        self,
        storage: ObjectStore,
        host: str = "0.0.0.0",
        port: int = 8081,
        heartbeat_interval_ms: int = 3_000,
        heartbeat_timeout_ms: int = 10_000,
        group_commit_interval_ms: int = DEFAULT_INTERVAL_MS,
        *,
        advertise_address: str = "",
        token: str = "",
        allow_remote: bool = False,
        limits: Limits = DEFAULT_LIMITS,
        commit_spacing_ms: int = 0,
    ) -> None:
        if not 0 < heartbeat_interval_ms < heartbeat_timeout_ms:
            raise ConfigError(
                f"heartbeat_interval_ms: {heartbeat_interval_ms} must be below heartbeat_timeout_ms "
                f"({heartbeat_timeout_ms}), or standbys would take a healthy leader for dead"
            )
        self._storage = storage
        self._settings = ServerSettings(host=host, port=port, token=token, allow_remote=allow_remote)
        self._heartbeat = Heartbeat(
            heartbeat_interval_ms, heartbeat_timeout_ms, min(Heartbeat().poll_ms, heartbeat_timeout_ms / 4)
        )
        self._engine_settings = EngineSettings(group_commit_interval_ms, commit_spacing_ms)
        self._advertise_address = advertise_address
        self._limits = limits
        self._clock, self._ids = SystemClock(), SystemIds()
        self._server: Server | None = None
        self._broker: Broker | None = None

    @property
    def address(self) -> str:
        """host:port at which others reach this broker over gRPC; "" before `start`."""
        return "" if self._broker is None else self._broker.addresses.grpc

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped, leading or standing by."""
        return self._broker is not None and not self._broker.failed.done()

    @property
    def is_leader(self) -> bool:
        """Whether it serves the queue now."""
        return self._broker is not None and self._broker.is_leader

    async def start(self, *, stand_by: bool = False) -> None:
        """Serve, and return once this broker leads. With `stand_by` it returns at once and leads when nobody else does.

        `BrokerLeadershipError` names another broker that is active on the storage; `ConfigError` the port that is taken
        or what the storage gets wrong.
        """
        if self._broker is not None:
            raise RuntimeError("the broker runs already")
        owned = self._own()
        if not owned:
            await prove_conditions(self._storage, self._clock, self._ids)
        usage = StoreUsage(self._clock)
        store = InstrumentedStore(self._storage, self._clock, usage)
        server = Server(self._settings, self._limits, clock=self._clock, ids=self._ids)
        address = self._advertise_address or self._own_address(server.port, shared=not owned)
        broker = Broker(
            store,
            addresses=Addresses(address, address),
            clock=self._clock,
            ids=self._ids,
            heartbeat=self._heartbeat,
            settings=self._engine_settings,
            limits=self._limits,
            sole_owner=owned,
            on_role=lambda role: server.lead(broker.is_leader),
            storage_requests=lambda: usage.requests,
        )
        self._server, self._broker = server, broker
        try:
            await server.start(broker, OpenedStore(store, usage, None, None))
            await broker.start(stand_by=stand_by)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Hand over, give every call its answer, and release the port. The storage stays open. Idempotent."""
        broker, server = self._broker, self._server
        self._broker = self._server = None
        if broker is not None:
            await broker.stop()
        if server is not None:
            await server.stop()

    def _own(self) -> bool:
        """Whether nobody else can lead on this storage: the lock of a directory, or this process's memory."""
        if isinstance(self._storage, FileStore):
            self._storage.acquire_ownership(self._advertise_address)
            return True
        return isinstance(self._storage, MemoryStore)

    def _own_address(self, port: int, *, shared: bool) -> str:
        host = self._settings.host
        if host in _WILDCARDS:
            host = (outward_host() if shared else "") or "127.0.0.1"
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
