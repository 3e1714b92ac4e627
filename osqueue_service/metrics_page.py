"""A broker's figures over HTTP, for those who scrape them: /metrics, /healthz, /readyz.

Without protection, because it shows counts and no job: listen on an address that only the monitoring reaches.
"""

from collections.abc import Callable

from aiohttp import web

from osqueue_protocol.in_turns import written
from osqueue_service.clock import Clock
from osqueue_service.errors import ConfigError
from osqueue_service.metrics import CONTENT_TYPE, Registry


class MetricsPage:
    """Serves one registry. `is_leader` decides what /readyz says: a standby is alive, and not ready."""

    def __init__(self, host: str, port: int, registry: Registry, is_leader: Callable[[], bool], clock: Clock) -> None:
        self._clock = clock
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

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        # Metrics of many types take a while to write and to send, and this process has a queue to lead.
        clock = self._clock
        parts = await written(self._registry.pieces(), lambda: clock.monotonic_ms() / 1_000, lambda: clock.sleep_ms(0))
        response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE})
        response.content_length = sum(map(len, parts))
        await response.prepare(request)
        for part in parts:
            await response.write(part)
            await clock.sleep_ms(0)
        await response.write_eof()
        return response

    async def _alive(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _ready(self, request: web.Request) -> web.Response:
        leading = self._is_leader()
        return web.json_response({"status": "leader" if leading else "standby"}, status=200 if leading else 503)
