"""A broker with a gateway in its process.

The gateway reaches its broker through a socket of this process's own, in a directory that only its user can enter: no
proxy of the environment, no certificate and no address to listen on comes between the two. When another broker leads,
the gateway follows it as any gateway does.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from osqueue.credentials import Credentials, Tls
from osqueue.errors import ConfigError as GatewayConfigError
from osqueue.transports.addresses import Endpoint
from osqueue.transports.grpc_link import OWN_SOCKET, BrokerLink
from osqueue_gateway.app import Gateway
from osqueue_gateway.config import GatewayConfig
from osqueue_gateway.limits import DEFAULT_LIMITS
from osqueue_service.app import POLL_MS, App, build
from osqueue_service.config import Settings
from osqueue_service.errors import ConfigError
from osqueue_service.memory_policy import settle_memory
from osqueue_service.storage import ObjectStore


class Service:
    """One broker and its gateway: `open` them, start the app, and `stop` both.

    `origins` are those of web pages that may call, `hosts` names by which callers without a token may. The other
    parameters are those of `osqueue_service.app.build`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        origins: Sequence[str] = (),
        hosts: Sequence[str] = (),
        store: ObjectStore | None = None,
        on_loaded: Callable[[], None] = settle_memory,
        poll_ms: float = POLL_MS,
    ) -> None:
        self._settings = settings
        self._store = store
        self._on_loaded = on_loaded
        self._poll_ms = poll_ms
        try:
            self._config = _gateway_config(settings, origins, hosts)
        except GatewayConfigError as error:
            raise ConfigError(error.message) from error
        self._directory: Path | None = None
        self._gateway: Gateway | None = None
        self._app: App | None = None

    async def open(self) -> App:
        """Listen on both ports and open the store. The app is the caller's to start.

        `ConfigError` and `BrokerLeadershipError` as `build` says; nothing is then left open.
        """
        self._directory = Path(tempfile.mkdtemp(prefix="osqueue-"))
        try:
            return await self._open(str(self._directory / "broker"))
        except BaseException as error:
            await self.stop()
            if isinstance(error, GatewayConfigError):
                raise ConfigError(error.message) from error
            raise

    async def _open(self, socket: str) -> App:
        settings = self._settings
        own = Endpoint("grpc", secure=bool(settings.tls_cert_file), authority=f"{OWN_SOCKET}{socket}")
        # Another broker may lead, and ask for a certificate as this one does.
        shown = (settings.tls_cert_file, settings.tls_key_file) if settings.tls_client_ca_file else ("", "")
        credentials = Credentials(settings.token, tls=Tls(settings.tls_ca_file, *shown))
        link = BrokerLink([own], token=credentials, silence_s=self._config.limits.silence_ms / 1_000)
        gateway = self._gateway = Gateway(self._config, link=link)
        # It comes first, because the address of its port goes into the store with the broker's.
        await gateway.start()
        self._app = await build(
            replace(settings, http_port=gateway.port),
            store=self._store,
            on_loaded=self._on_loaded,
            poll_ms=self._poll_ms,
            own_socket=socket,
        )
        gateway.metrics.beside(self._app.metrics.pieces)
        return self._app

    async def stop(self) -> None:
        """Give every call its answer, hand over, and release ports and store. Idempotent."""
        gateway, self._gateway = self._gateway, None
        app, self._app = self._app, None
        if gateway is not None:
            await gateway.stop()
        if app is not None:
            await app.stop()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)


def _gateway_config(settings: Settings, origins: Sequence[str], hosts: Sequence[str]) -> GatewayConfig:
    return GatewayConfig(
        host=settings.host,
        port=settings.http_port,
        advertised=settings.http_address,
        token=settings.token,
        allow_remote=settings.allow_remote,
        origins=tuple(origins),
        hosts=tuple(hosts),
        tls_cert_file=settings.http_tls_cert_file,
        tls_key_file=settings.http_tls_key_file,
        limits=DEFAULT_LIMITS.for_messages(settings.limits.message_bytes),
    )
