"""A broker and a gateway in the test's own process, and what tests ask them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from osqueue_gateway.app import Gateway
from osqueue_gateway.broker import Link
from osqueue_gateway.config import GatewayConfig
from osqueue_service.testing.in_process import broker_in_process

HOST = "127.0.0.1"


@dataclass
class Asked:
    """An answer, read to its end."""

    status: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Caller:
    """Asks a gateway over HTTP."""

    def __init__(self, gateway: Gateway, session: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.session = session
        self.url = f"http://{HOST}:{gateway.port}"

    async def ask(self, method: str, path: str, body: bytes | str | None = None, **headers: str) -> Asked:
        """Keyword arguments are headers, with _ for -. A body is JSON unless a header says otherwise."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and "content-type" not in {name.lower() for name in named}:
            named["Content-Type"] = "application/json"
        async with self.session.request(method, self.url + path, data=body, headers=named) as answer:
            return Asked(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, **headers: str) -> Any:
        """The JSON of a page that must be there."""
        asked = await self.ask("GET", path, **headers)
        assert asked.status == 200, asked.body
        return asked.json()

    async def post(self, path: str, body: bytes | str) -> Any:
        """The JSON of a call that must succeed."""
        asked = await self.ask("POST", path, body)
        assert asked.status == 200, asked.body
        return asked.json()

    def socket(self, **options: Any) -> Any:
        """A WebSocket to the gateway, as a context manager."""
        return self.session.ws_connect(self.url + "/v1/ws", **options)

    async def connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare connection, for what no client would send."""
        return await asyncio.open_connection(HOST, self.gateway.port)


@asynccontextmanager
async def running(config: GatewayConfig, link: Link | None = None) -> AsyncIterator[Caller]:
    """A gateway with these settings, on a free port unless one is set."""
    gateway = Gateway(config, link=link)
    await gateway.start()
    try:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            yield Caller(gateway, session)
    finally:
        await gateway.stop()


@asynccontextmanager
async def gateway_and_broker(**settings: Any) -> AsyncIterator[Caller]:
    """The two together; `settings` are those of `GatewayConfig`."""
    async with broker_in_process() as broker:
        config = GatewayConfig(**{"host": HOST, "port": 0, "brokers": (broker.address,), **settings})
        async with running(config) as caller:
            yield caller
