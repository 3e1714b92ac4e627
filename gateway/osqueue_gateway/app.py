"""The gateway put together: what is listened to, who is admitted, and which part answers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

from aiohttp import hdrs, web

from osqueue.credentials import Credentials
from osqueue.errors import ConfigError
from osqueue.transports.grpc_link import BrokerLink
from osqueue_gateway import assets
from osqueue_gateway.bodies import Budget
from osqueue_gateway.broker import Broker, Link
from osqueue_gateway.callers import OWN, Callers, act_for, require
from osqueue_gateway.calls import Calls
from osqueue_gateway.certificates import Certificate
from osqueue_gateway.config import GatewayConfig
from osqueue_gateway.connect import Connect, connect_error
from osqueue_gateway.errors import Refusal, problem_of
from osqueue_gateway.metrics import Metrics
from osqueue_gateway.pages import Pages
from osqueue_gateway.protection import ORIGIN_KEY, Guard, preflight
from osqueue_gateway.rest import Rest, error_response
from osqueue_gateway.routes import CONNECT_PATHS, find
from osqueue_gateway.server import Server, allow_connections
from osqueue_gateway.streams import Streams
from osqueue_gateway.ws import Sockets
from osqueue_protocol.rights import ANY, READ

log = logging.getLogger("osqueue.gateway")

WS_PATH = "/v1/ws"
CLOSE_S = 0.5
"""For connections to close once what was under way has ended, or was given up."""

Page = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Gateway:
    """One gateway: `start`, then `stop`, which lets what is under way finish within `Limits.drain_ms`."""

    def __init__(self, config: GatewayConfig, *, link: Link | None = None) -> None:
        """`link`: another way to the broker than gRPC to the addresses of the configuration."""
        self.config = config
        self.metrics = Metrics()
        self._link = link
        self._runner: web.ServerRunner | None = None
        self._sites: list[web.BaseSite] = []
        self.port = config.port

    async def start(self) -> None:
        """Listen; raises `ConfigError` when that is not possible."""
        config, limits = self.config, self.config.limits
        self.budget = Budget(limits.body_bytes_total)
        shown = Credentials(config.token, tls=config.tls)
        link = self._link or BrokerLink(config.endpoints(), token=shown, silence_s=limits.silence_ms / 1_000)
        self.broker = Broker(link, limits)
        self.calls = Calls(self.broker, limits)
        self._callers = Callers(self.broker)
        self._guard = Guard(
            token=config.token,
            allow_remote=config.allow_remote,
            origins=config.origins,
            own_hosts=config.own_hosts,
        )
        self._rest = Rest(self.calls, limits, self.budget)
        self._streams = Streams(self.calls, limits, self.metrics)
        self._connect = Connect(self.calls, limits, self.budget)
        self.sockets = Sockets(self.calls, limits, self.budget, self.metrics)
        pages = Pages(self.broker, self.calls, self.metrics)
        self._open_pages: dict[str, Page] = {"/healthz": pages.healthz, "/readyz": pages.readyz}
        self._pages: dict[str, Page] = {
            WS_PATH: self.sockets.serve,
            "/metrics": pages.metrics,
            "/openapi.json": pages.openapi,
            "/docs": pages.docs,
        }
        allow_connections(limits.connections)
        self._server = Server(self.handle, limits, self.metrics)
        self._show_figures()
        await self._listen()

    async def _listen(self) -> None:
        self._runner = web.ServerRunner(self._server, shutdown_timeout=CLOSE_S)
        await self._runner.setup()
        config = self.config
        self._certificate = Certificate(config.tls_cert_file, config.tls_key_file) if config.tls_cert_file else None
        context = None if self._certificate is None else self._certificate.context
        site = web.TCPSite(self._runner, config.host, config.port, backlog=1_024, ssl_context=context)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            await self.broker.close()
            raise ConfigError(
                f"BROKER_HOST, BROKER_PORT: cannot listen on {self.config.host}:{self.config.port}: {error.strerror}; "
                "choose another port, or stop what has it"
            ) from error
        self._sites = [site]
        self.port = self._runner.addresses[0][1]
        if self._certificate is not None:
            self._certificate.watch()
        scheme = "http" if context is None else "https"
        log.info("gateway listens on %s://%s:%s, broker at %s", scheme, config.host, self.port, self.broker.address)

    async def stop(self) -> None:
        """Take no new connections, end waits, let calls finish, close."""
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        for site in self._sites:
            await site.stop()
        if self._certificate is not None:
            self._certificate.stop()
        self.calls.drain()
        try:
            async with asyncio.timeout(self.config.limits.drain_ms / 1_000):
                await self.sockets.drain()
                await self.calls.finished()
        except TimeoutError:
            log.warning("some calls did not finish within %s ms and are cut off", self.config.limits.drain_ms)
        await runner.cleanup()
        await self.broker.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Any request. Whatever goes wrong is answered with a tagged error."""
        clock = asyncio.get_running_loop().time
        started = clock()
        path, _, query = request.raw_path.partition("?")
        target = _UNKNOWN
        try:
            act_for(OWN)
            if not self._is_open(path) and (token := self._guard.admit(request)):
                act_for(await self._callers.of(token))
            target = self._target(request, path, query)
            require(target.scope, target.name)
            response = await target.respond()
        except ConnectionError:
            self.metrics.count("callers_gone")
            raise
        except asyncio.CancelledError:
            self.metrics.count("callers_gone")
            raise
        except Exception as error:  # noqa: BLE001 - not swallowed: it is answered, and logged when nobody foresaw it
            response = _failed(request, error, mutates=target.mutates, connect=path in CONNECT_PATHS)
        if self.calls.draining:
            response.force_close()
        seconds = clock() - started if target.timed else None
        self.metrics.answered(target.transport, target.name, response.status, seconds)
        return response

    def _is_open(self, path: str) -> bool:
        """Whether anybody may ask. A browser cannot send the token before the dashboard has asked a person for it."""
        return path in self._open_pages or (bool(self.config.token) and assets.is_dashboard(path))

    def _target(self, request: web.BaseRequest, path: str, query: str) -> "_Target":
        if request.method == hdrs.METH_OPTIONS and ORIGIN_KEY in request:
            return _Target("rest", "preflight", partial(preflight, request))
        page = self._open_pages.get(path) or self._pages.get(path)
        if page is not None:
            _require_method(request, hdrs.METH_GET)
            scope = READ if path == "/metrics" else ANY
            return _Target("rest", path, partial(page, request), timed=path != WS_PATH, scope=scope)
        rpc = CONNECT_PATHS.get(path)
        if rpc is not None:
            respond = partial(self._connect.answer, request, rpc)
            return _Target("connect", rpc.name, respond, rpc.mutates, timed=not rpc.server_streaming, scope=rpc.scope)
        routes, identifier = find(path)
        if not routes:
            return _dashboard(request, path)
        route = routes[_require_method(request, *routes)]
        if route.rpc.server_streaming:
            if request.method == hdrs.METH_HEAD:  # it would last as long as the stream, and say nothing
                raise Refusal(405, "HEAD is not possible here, only GET", headers={hdrs.ALLOW: hdrs.METH_GET})
            respond = partial(self._streams.answer, request, route, query)
            return _Target("rest", route.rpc.name, respond, timed=False, scope=route.rpc.scope)
        respond = partial(self._rest.answer, request, route, identifier, query)
        return _Target("rest", route.rpc.name, respond, route.rpc.mutates, scope=route.rpc.scope)

    def _show_figures(self) -> None:
        show = self.metrics.show
        show("connections", "Connections open.", lambda: self._server.open)
        show("calls_under_way", "Calls being answered by the broker.", lambda: self.calls.under_way)
        show("calls_waiting", "Calls that wait for a job.", lambda: self.calls.waiting)
        show("streams", "Server streams open.", lambda: self.calls.streams)
        show("sockets", "WebSockets open.", lambda: self.sockets.open)
        show("body_bytes", "Bytes of large requests and answers under way.", lambda: self.budget.used)
        show("repeated_calls_total", "Calls repeated because no broker led.", lambda: self.broker.repeated, "counter")
        for name, batcher in self.broker.batchers.items():
            batches, batched = partial(getattr, batcher, "batches"), partial(getattr, batcher, "items")
            show(f"{name.lower()}_batches_total", f"Batches that {name} calls shared.", batches, "counter")
            show(f"{name.lower()}_batched_total", f"{name} calls in them.", batched, "counter")


class _Target(NamedTuple):
    """What answers a request, and under which name it is counted."""

    transport: str
    name: str
    respond: Callable[[], Awaitable[web.StreamResponse]]
    mutates: bool = False
    timed: bool = True
    """It ends by itself, not when its caller likes."""
    scope: str = ANY
    """The right that a caller needs."""


async def _nothing() -> web.StreamResponse:
    raise AssertionError("never asked")


_UNKNOWN = _Target("rest", "none", _nothing)


def _dashboard(request: web.BaseRequest, path: str) -> _Target:
    asset = assets.find(path) if assets.is_dashboard(path) else None
    if asset is None:
        raise Refusal(404, f"there is no {path[:200]}; /docs lists what there is")
    _require_method(request, hdrs.METH_GET)
    return _Target("rest", "dashboard", partial(assets.answer, request, path, asset))


def _require_method(request: web.BaseRequest, *allowed: str) -> str:
    method = hdrs.METH_GET if request.method == hdrs.METH_HEAD else request.method
    if method not in allowed:
        listed = ", ".join(allowed)
        raise Refusal(405, f"{request.method[:20]} is not possible here, only {listed}", headers={hdrs.ALLOW: listed})
    return method


def _failed(request: web.BaseRequest, error: Exception, *, mutates: bool, connect: bool) -> web.StreamResponse:
    problem = problem_of(error, mutates=mutates)
    response = connect_error(request, problem) if connect else error_response(request, problem)
    if isinstance(error, Refusal):
        response.headers.update(error.headers)
        if error.close:
            response.force_close()
    return response
