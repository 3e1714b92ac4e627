"""The composition root: everything that a broker is made of, put together.

Here, and nowhere else, real time, real randomness, a real store and a real port meet.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osqueue_service.broker import Broker, Role
from osqueue_service.broker_metrics import broker_families
from osqueue_service.clock import Clock, SystemClock
from osqueue_service.config import Settings
from osqueue_service.engine.settings import EngineSettings
from osqueue_service.errors import ConfigError, StoreError
from osqueue_service.ids import IdSource, SystemIds
from osqueue_service.leadership import Addresses, Heartbeat
from osqueue_service.log.paths import ROOT
from osqueue_service.memory_policy import settle_memory
from osqueue_service.metrics import Registry
from osqueue_service.metrics_page import MetricsPage
from osqueue_service.rpc.access.registry import Registry as Tokens
from osqueue_service.rpc.certificates import Certificates
from osqueue_service.rpc.server import Server, ServerSettings
from osqueue_service.storage import ObjectStore
from osqueue_service.storage.backends import price_table_named
from osqueue_service.storage.factory import OpenedStore, StoreSettings, open_store, surround
from osqueue_service.storage.selftest import RACES, RACES_AGAIN, prove_conditions, watch_conditions
from osqueue_service.storage.throttled import ThrottleLimits
from osqueue_service.storage.usage import FREE, PriceTable

if TYPE_CHECKING:
    from osqueue_service.rpc.access.signed.bearers import Bearers

log = logging.getLogger(__name__)

POLL_MS = 500
"""How often a standby looks at the root; more often when the heartbeat's timeout is short."""


class App:
    """A broker and its port. Make it with `build`, inside a running loop."""

    def __init__(
        self,
        settings: Settings,
        opened: OpenedStore,
        server: Server,
        *,
        clock: Clock,
        queue_clock: Clock | None = None,
        ids: IdSource,
        on_loaded: Callable[[], None],
        poll_ms: float = POLL_MS,
        leave_open: bool = False,
    ) -> None:
        """`leave_open`: whoever gave the store closes it."""
        self.shared = opened.exclusive is None
        """Whether other brokers can use the store as well."""
        http, grpc = settings.addresses(server.port, shared=self.shared)
        self.settings = settings
        self.server = server
        self.storage = opened
        self.broker = Broker(
            opened.store,
            addresses=Addresses(http, grpc),
            clock=clock,
            queue_clock=queue_clock,
            ids=ids,
            heartbeat=_heartbeat(settings, poll_ms),
            settings=EngineSettings(settings.group_commit_interval_ms, settings.commit_spacing_ms),
            limits=settings.limits,
            sole_owner=not self.shared,
            follow=settings.warm_standby,
            retention_ms=settings.retention_ms(shared=self.shared),
            on_loaded=on_loaded,
            on_role=self._on_role,
            storage_requests=opened.usage.requests,
            store_time=(lambda: None) if opened.timed is None else opened.timed.store_time_ms,
            watch=(lambda: watch_conditions(opened.store, clock, ids)) if opened.exclusive is None else None,
        )
        file = Path(settings.access_file) if settings.access_file else None
        self.tokens = Tokens(opened.store, clock, ids, file=file)
        self.bearers = _bearers(settings.issuers_file, clock)
        self._reading: asyncio.Task[None] | None = None
        self.metrics = Registry()
        self.metrics.add(lambda: broker_families(self.broker))
        self.metrics.add(opened.usage.families)
        if opened.throttle is not None:
            throttle = opened.throttle
            self.metrics.add(lambda: throttle.stats.families())
        self.metrics.add(server.calls.families)
        self._page = (
            MetricsPage(settings.host, settings.metrics_port, self.metrics, lambda: self.broker.is_leader, clock)
            if settings.metrics_port
            else None
        )
        self._clock = clock
        self._ids = ids
        self._leave_open = leave_open
        self._proved = False
        if opened.exclusive is not None:
            opened.exclusive.own(grpc)

    @property
    def address(self) -> str:
        """host:port at which others reach this broker over gRPC."""
        return self.broker.addresses.grpc

    @property
    def doing(self) -> str:
        """What this broker is at until it leads, for people."""
        unanswered = any(kind.unavailable + kind.unknown for kind in self.storage.usage.operations.values())
        trouble = " (requests to it have failed: check endpoint and network)" if unanswered else ""
        leader = self.broker.leader_address
        if not self._proved:
            return f"asking {self._location} whether it can hold a queue{trouble}"
        if self.broker.role is Role.RECOVERING:
            return f"reading the queue from {self._location}{trouble}"
        if self.broker.role is Role.STANDBY and leader:
            return (
                f"standing by: {leader} leads, and this broker takes over when that one stops or falls silent{trouble}"
            )
        return f"looking for who leads in {self._location}{trouble}"

    async def start(self, *, stand_by: bool = True) -> None:
        """Serve; then lead as soon as nobody else does. Without `stand_by`, return once this broker leads, or raise
        `BrokerLeadershipError` when another one is active."""
        if self.shared:
            log.info("asking %s whether it can hold a queue", self._location)
            races = RACES_AGAIN if await self._has_begun() else RACES
            await prove_conditions(self.storage.store, self._clock, self._ids, races=races)
        if self._page is not None:
            await self._page.start()
        asks = self.settings.asks_for_a_token
        if asks:
            await self.tokens.start()
        if self.bearers is not None:
            self.bearers.start()
        await self.server.start(self.broker, self.storage, self.tokens, asks=asks, bearers=self.bearers)
        self._proved = True
        log.info("listening on %s:%d; the queue is in %s", self.server.host, self.server.port, self._location)
        if guessed := self.settings.guessed_addresses(shared=self.shared):
            addresses = self.broker.addresses
            log.info(
                "others are told to dial %s (gRPC) and %s (HTTP); if they cannot, set %s",
                addresses.grpc, addresses.broker, " and ".join(guessed),
            )  # fmt: skip
        await self.broker.start(stand_by=stand_by)

    async def _has_begun(self) -> bool:
        """Whether a queue lies in the store. A store that does not say is raced as one that holds nothing."""
        try:
            return await self.storage.store.read(ROOT) is not None
        except StoreError:
            return False

    async def stop(self) -> None:
        """Hand over, give every call its answer, and release port and store. Idempotent."""
        await self.broker.stop()
        await self.server.stop()
        if self._reading is not None:
            self._reading.cancel()
        await self.tokens.stop()
        if self.bearers is not None:
            await self.bearers.stop()
        if self._page is not None:
            await self._page.stop()
        if self.storage.exclusive is not None:
            self.storage.exclusive.disown()
        if not self._leave_open:
            await self.storage.store.close()

    async def run(self, serving: AbstractAsyncContextManager[None] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, then stop in order; a second signal ends the process at once. Raises what
        keeps this broker from going on. `serving` is open from the moment that it serves until it is to stop."""
        signalled = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _on_signal, loop, signalled, number)
        waiting = loop.create_task(signalled.wait())
        try:
            await self.start()
            either: set[asyncio.Future[Any]] = {waiting, self.broker.failed}
            async with serving or nullcontext():
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            await self.stop()
        if self.broker.failed.done():
            raise self.broker.failed.result()

    @property
    def _location(self) -> str:
        return self.storage.store.description

    def _on_role(self, role: Role) -> None:
        self.server.able(role not in (Role.OUTDATED, Role.CLOCK_AHEAD, Role.STOPPED))
        self.server.lead(role is Role.LEADER)
        if role is Role.LEADER and self.settings.asks_for_a_token:
            # What the leader before changed; until it is read, whoever shows a new token is told to call again.
            self._reading = asyncio.get_running_loop().create_task(self.tokens.refresh())


async def build(
    settings: Settings,
    *,
    store: ObjectStore | None = None,
    clock: Clock | None = None,
    queue_clock: Clock | None = None,
    ids: IdSource | None = None,
    on_loaded: Callable[[], None] = settle_memory,
    poll_ms: float = POLL_MS,
    own_socket: str = "",
) -> App:
    """Bind the port, open the store, and put the broker together; nothing is served yet.

    `store`: a store that is open already and stays so, instead of the one that the settings name. `queue_clock` gives
    the queue's own time, by default the `clock`'s. `on_loaded` is called when a state has just been built; the default
    takes it out of the garbage collector's sight, which suits a process that is only a broker. `poll_ms` is how often a
    standby looks at the root; more often when the heartbeat's timeout is short. `own_socket` is the path of a socket on
    which the broker serves its own process, too, without TLS.

    `ConfigError` names the setting that is wrong, the port that is taken or the store that cannot be opened;
    `BrokerLeadershipError` the live owner of a store that has one broker at a time.
    """
    clock, ids = clock or SystemClock(), ids or SystemIds()
    server = Server(_server_settings(settings, own_socket), settings.limits, clock=clock, ids=ids)
    try:
        opened = _opened(settings, store, clock, ids)
        try:
            return App(
                settings,
                opened,
                server,
                clock=clock,
                queue_clock=queue_clock,
                ids=ids,
                on_loaded=on_loaded,
                poll_ms=poll_ms,
                leave_open=store is not None,
            )
        except BaseException:
            if store is None:
                await opened.store.close()
            raise
    except BaseException:
        await server.stop()
        raise


def store_settings(settings: Settings) -> StoreSettings:
    """What the settings say of the store."""
    backend = settings.backend
    return StoreSettings(
        backend,
        settings.store,
        limits=_throttle_limits(settings),
        prices=_prices(settings, backend.default_prices),
    )


def _opened(settings: Settings, store: ObjectStore | None, clock: Clock, ids: IdSource) -> OpenedStore:
    if store is None:
        return open_store(store_settings(settings), clock, ids)
    return surround(store, clock, limits=_throttle_limits(settings), prices=_prices(settings, FREE))


def _throttle_limits(settings: Settings) -> ThrottleLimits:
    return ThrottleLimits(settings.max_reads_per_minute, settings.max_writes_per_minute, settings.max_writes_per_day)


def _prices(settings: Settings, default: PriceTable) -> PriceTable:
    return price_table_named(settings.storage_prices) if settings.storage_prices else default


def _heartbeat(settings: Settings, poll_ms: float) -> Heartbeat:
    timeout_ms = settings.heartbeat_timeout_ms
    return Heartbeat(settings.heartbeat_interval_ms, timeout_ms, min(poll_ms, timeout_ms / 4))


def _server_settings(settings: Settings, own_socket: str) -> ServerSettings:
    return ServerSettings(
        host=settings.host,
        port=settings.grpc_port,
        token=settings.token,
        allow_remote=settings.allow_remote,
        own_socket=own_socket,
        certificates=Certificates(
            settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file, settings.tls_ca_file
        )
        if settings.tls_cert_file
        else None,
    )


def _bearers(path: str, clock: Clock) -> "Bearers | None":
    if not path:
        return None
    try:
        from osqueue_service.rpc.access.signed.bearers import Bearers
        from osqueue_service.rpc.access.signed.fetching import fetch
        from osqueue_service.rpc.access.signed.issuers import IssuersError, read
    except ImportError as error:
        raise ConfigError("OSQUEUE_ISSUERS_FILE needs another package: pip install 'osqueue[jwt]'") from error
    try:
        issuers = read(Path(path).read_bytes())
    except (OSError, IssuersError) as error:
        raise ConfigError(f"OSQUEUE_ISSUERS_FILE: {path}: {error}") from None
    return Bearers(issuers, fetch, clock)


def _on_signal(loop: asyncio.AbstractEventLoop, signalled: asyncio.Event, number: signal.Signals) -> None:
    log.info("%s: handing over and stopping; once more ends the process at once", number.name)
    signalled.set()
    for each in (signal.SIGTERM, signal.SIGINT):
        with suppress(ValueError):
            loop.remove_signal_handler(each)
