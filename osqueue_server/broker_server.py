"""`BrokerServer` that serves HTTP, too, when it is asked to."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from osqueue_server.service import Service
from osqueue_service.app import App
from osqueue_service.broker_server import BrokerServer as GrpcServer
from osqueue_service.broker_server import spare_the_collector
from osqueue_service.storage import ObjectStore


class BrokerServer(GrpcServer):
    """`osqueue_service.BrokerServer`, with REST, WebSocket, Connect and the dashboard on `http_port` of the same host.

    `http_port` None serves gRPC only; 0 takes any free one. `http_address` is what others dial, host:port, where that
    differs from `host` and the port. `origins` are those of web pages on other hosts that may call, such as
    https://dashboard.example; `hosts` are names by which callers without a token may reach it. All else is as there.
    """

    def __init__(
        self,
        storage: ObjectStore,
        *arguments: Any,
        http_port: int | None = None,
        http_address: str = "",
        origins: Sequence[str] = (),
        hosts: Sequence[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(storage, *arguments, **options)
        if http_port is not None:
            self.settings = replace(self.settings, http_port=http_port, http_address=http_address)
        self._serves_http = http_port is not None
        self._origins = origins
        self._hosts = hosts
        self._service: Service | None = None

    @property
    def http_address(self) -> str:
        """host:port at which others reach its gateway; "" before `start` and without an `http_port`."""
        return self._app.broker.addresses.broker if self._app is not None and self._service is not None else ""

    async def _compose(self) -> App:
        if not self._serves_http:
            return await super()._compose()
        service = self._service = Service(
            self.settings,
            origins=self._origins,
            hosts=self._hosts,
            store=self._storage,
            on_loaded=spare_the_collector,
            poll_ms=self._poll_ms,
        )
        return await service.open()

    async def stop(self) -> None:
        service, self._service = self._service, None
        if service is not None:
            self._app = None
            await service.stop()
        await super().stop()
