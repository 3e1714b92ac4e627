"""The demo's two guests from the world of HTTP: one job by REST, as curl would, and one over a WebSocket.

They may come while no broker leads: the gateway then answers 503, and they try again. An idempotency key makes that
safe.
"""

import asyncio
import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure

if TYPE_CHECKING:
    from osqueue.job import JobSpec

ANSWER_S = 30.0
AGAIN_S = 0.25
"""Between two tries while nobody leads."""


class _NobodyLeads(Exception):
    """The gateway says to try again later."""


async def submit_by_rest(port: int, spec: "JobSpec") -> str:
    """`curl http://localhost:PORT/v1/jobs -H 'content-type: application/json' -d ...`; returns the job's id."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/jobs",
        data=json.dumps(_fields(spec)).encode(),
        headers={"content-type": "application/json"},
    )

    def send() -> Any:
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 503:
                raise _NobodyLeads from error
            raise

    return str((await _patiently(lambda: asyncio.to_thread(send)))["jobId"])


async def submit_by_websocket(port: int, spec: "JobSpec") -> tuple[str, Any]:
    """Submit over a WebSocket and wait there for the end; returns the job's id and its result."""
    from aiohttp import ClientSession, ClientTimeout

    fields = _fields(spec)
    timeout = ClientTimeout(total=ANSWER_S)
    async with ClientSession(timeout=timeout) as session, session.ws_connect(f"ws://127.0.0.1:{port}/v1/ws") as socket:

        async def call(method: str, params: dict[str, Any]) -> Any:
            await socket.send_json({"id": method, "method": method, "params": params})
            answer = await socket.receive_json(timeout=ANSWER_S)
            if not answer["ok"] and answer["error"]["_tag"] in ("BrokerLeadershipError", "EngineStateError"):
                raise _NobodyLeads
            if not answer["ok"]:
                raise Failure(f"{method} over the WebSocket: {answer['error']['message']}", Exit.INTERNAL)
            return answer["result"]

        job_id = str((await _patiently(lambda: call("submitJob", fields)))["jobId"])
        wait = {"jobId": job_id, "waitMs": round(ANSWER_S * 1_000)}
        ended = await _patiently(lambda: call("waitJob", wait))
        return job_id, ended["job"].get("result")


async def _patiently(ask: Callable[[], Awaitable[Any]]) -> Any:
    """The answer, as soon as somebody leads."""
    until = time.monotonic() + ANSWER_S
    while True:
        try:
            return await ask()
        except _NobodyLeads:
            if time.monotonic() > until:
                raise Failure(f"no broker led for {ANSWER_S:.0f} s", Exit.INTERNAL) from None
            await asyncio.sleep(AGAIN_S)


def _fields(spec: "JobSpec") -> dict[str, Any]:
    """The job as JSON, with a key of its own for all tries."""
    payload = json.loads(spec.payload)
    return {"type": spec.type, "payload": payload, "leaseMs": spec.lease_ms, "idempotencyKey": uuid.uuid4().hex}
