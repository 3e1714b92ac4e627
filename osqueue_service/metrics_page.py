"""A broker's figures over HTTP, for those who scrape them: /metrics, /healthz, /readyz.

Without protection, because it shows counts and no job: listen on an address that only the monitoring reaches.
"""

from collections.abc import Callable

from aiohttp import web

from osqueue_service.errors import ConfigError
from osqueue_service.metrics import Registry

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricsPage:
    """Serves one registry. `is_leader` decides what /readyz says: a standby is alive, and not ready."""

    def __init__(self, host: str, port: int, registry: Registry, is_leader: Callable[[], bool]) -> None:
        self._host = host
        self._port = port
        self._registry = registry
        self._is_leader = is_leader
        application = web.Application()
        application.add_routes(
            [web.get("/metrics", self._metrics), web.get("/healthz", self._alive), web.get("/readyz", self._ready)]
        )
        self._runner = web.AppRunner(application, access_log=None)

    async def start(self) -> None:
        """Listen. `ConfigError` names the port that is taken."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigError(
                f"BROKER_METRICS_PORT: cannot listen on {self._host}:{self._port}: {error.strerror}; choose another"
            ) from error

    async def stop(self) -> None:
        """Stop listening. Idempotent."""
        await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._registry.render().encode(), headers={"Content-Type": _CONTENT_TYPE})

    async def _alive(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _ready(self, request: web.Request) -> web.Response:
        leading = self._is_leader()
        return web.json_response({"status": "leader" if leading else "standby"}, status=200 if leading else 503)
