"""A broker as a library: `BrokerServer` over an object store of your own.

server = BrokerServer(storage=FileStore.open("queue"), host="127.0.0.1")
await server.start()
...
await server.stop()
"""

from osqueue_service.app import POLL_MS, App, build
from osqueue_service.config import Settings
from osqueue_service.engine.settings import DEFAULT_INTERVAL_MS
from osqueue_service.errors import ConfigError
from osqueue_service.limits import DEFAULT_LIMITS, Limits
from osqueue_service.storage import ObjectStore

_TOO_RARE = (
    "heartbeat_interval_ms: {} must be below heartbeat_timeout_ms ({}), or standbys would take a healthy leader for "
    "dead"
)


class BrokerServer:
    """One broker with its port, on a store that you made and that you close.

    The store may be any that passes the conformance suite (`osqueue_service.testing.store_conformance`); at the start
    it must prove that it refuses what it must, unless only one broker can use it (`ExclusiveStore`: memory, a
    directory). `port` 0 takes any free one. `advertise_address` is what others dial, host:port; unset, and with a
    wildcard as `host`, it is this machine's own address towards others. Without `token`, only callers on this machine
    are served, unless `allow_remote`; `access_file` declares further tokens with their scopes, `issuers_file` whose
    JWTs are let in.
    `group_commit_interval_ms` bounds how long a change waits for others to share its commit; a lone one waits for
    nobody. `commit_spacing_ms` keeps the starts of commits that far apart, to save requests. `metrics_port` serves
    /metrics and /readyz; 0: nowhere. `tls_cert_file` and `tls_key_file` (PEM) make the port speak TLS,
    `tls_client_ca_file` asks callers for certificates of that authority, and `tls_ca_file` is that of other brokers.
    `max_reads_per_minute`, `max_writes_per_minute` and `max_writes_per_day` throttle requests to the store; 0: no
    limit. `storage_prices` names the table that costs are shown by. Without `warm_standby`, a broker that stands by
    does not follow the log. `log_retention_ms` is how long checkpoints and commits are kept once they are superseded,
    for a way back in time; None: a day, or not at all where only one broker can use the storage. Times are
    milliseconds.

    `ConfigError` names what is wrong.
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
        access_file: str = "",
        issuers_file: str = "",
        allow_remote: bool = False,
        limits: Limits = DEFAULT_LIMITS,
        commit_spacing_ms: int = 0,
        metrics_port: int = 0,
        tls_cert_file: str = "",
        tls_key_file: str = "",
        tls_client_ca_file: str = "",
        tls_ca_file: str = "",
        max_reads_per_minute: int = 0,
        max_writes_per_minute: int = 0,
        max_writes_per_day: int = 0,
        storage_prices: str = "",
        warm_standby: bool = True,
        log_retention_ms: int | None = None,
    ) -> None:
        if not 0 < heartbeat_interval_ms < heartbeat_timeout_ms:
            raise ConfigError(_TOO_RARE.format(heartbeat_interval_ms, heartbeat_timeout_ms))
        self.settings = Settings(
            host=host,
            grpc_port=port,
            http_port=0,
            heartbeat_interval_ms=heartbeat_interval_ms,
            heartbeat_timeout_ms=heartbeat_timeout_ms,
            group_commit_interval_ms=group_commit_interval_ms,
            advertise_address=advertise_address,
            token=token,
            access_file=access_file,
            issuers_file=issuers_file,
            allow_remote=allow_remote,
            limits=limits,
            commit_spacing_ms=commit_spacing_ms,
            metrics_port=metrics_port,
            tls_cert_file=tls_cert_file,
            tls_key_file=tls_key_file,
            tls_client_ca_file=tls_client_ca_file,
            tls_ca_file=tls_ca_file,
            max_reads_per_minute=max_reads_per_minute,
            max_writes_per_minute=max_writes_per_minute,
            max_writes_per_day=max_writes_per_day,
            storage_prices=storage_prices,
            warm_standby=warm_standby,
            log_retention_ms=log_retention_ms,
        )
        self._storage = storage
        self._poll_ms: float = POLL_MS
        self._app: App | None = None

    @property
    def address(self) -> str:
        """host:port at which others reach this broker over gRPC; "" before `start`."""
        return "" if self._app is None else self._app.address

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped, leading or standing by."""
        return self._app is not None and not self._app.broker.failed.done()

    @property
    def is_leader(self) -> bool:
        """Whether it serves the queue now."""
        return self._app is not None and self._app.broker.is_leader

    async def start(self, *, stand_by: bool = False) -> None:
        """Serve, and return once this broker leads. With `stand_by` it returns at once and leads when nobody else does.

        `BrokerLeadershipError` names another broker that is active on the storage; `ConfigError` the port that is taken
        or what the storage gets wrong.
        """
        if self._app is not None:
            raise RuntimeError("the broker runs already")
        self._app = await self._compose()
        try:
            await self._app.start(stand_by=stand_by)
        except BaseException:
            await self.stop()
            raise

    async def _compose(self) -> App:
        return await build(self.settings, store=self._storage, on_loaded=spare_the_collector, poll_ms=self._poll_ms)

    async def stop(self) -> None:
        """Hand over, give every call its answer, and release the port. The storage stays open. Idempotent."""
        app, self._app = self._app, None
        if app is not None:
            await app.stop()


def spare_the_collector() -> None:
    """The garbage collector is the process's own: a library leaves it as it is."""
