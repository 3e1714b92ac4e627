"""The demo's two guests from the world of HTTP: one job by REST, as curl would, and one over a WebSocket."""

import asyncio
import json
import urllib.request
from typing import TYPE_CHECKING, Any

from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure

if TYPE_CHECKING:
    from osqueue.messages import JobSpec

ANSWER_S = 30.0


async def submit_by_rest(port: int, spec: "JobSpec") -> str:
    """`curl http://localhost:PORT/v1/jobs -H 'content-type: application/json' -d ...`; returns the job's id."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/jobs",
        data=json.dumps(_fields(spec)).encode(),
        headers={"content-type": "application/json"},
    )

    def send() -> Any:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            return json.load(answer)

    return str((await asyncio.to_thread(send))["jobId"])


async def submit_by_websocket(port: int, spec: "JobSpec") -> tuple[str, Any]:
    """Submit over a WebSocket and wait there for the end; returns the job's id and its result."""
    from aiohttp import ClientSession, ClientTimeout

    timeout = ClientTimeout(total=ANSWER_S)
    async with ClientSession(timeout=timeout) as session, session.ws_connect(f"ws://127.0.0.1:{port}/v1/ws") as socket:

        async def call(method: str, params: dict[str, Any]) -> Any:
            await socket.send_json({"id": method, "method": method, "params": params})
            answer = await socket.receive_json(timeout=ANSWER_S)
            if not answer["ok"]:
                raise Failure(f"{method} over the WebSocket: {answer['error']['message']}", Exit.INTERNAL)
            return answer["result"]

        job_id = str((await call("submitJob", _fields(spec)))["jobId"])
        ended = await call("waitJob", {"jobId": job_id, "waitMs": round(ANSWER_S * 1_000)})
        return job_id, ended["job"].get("result")


def _fields(spec: "JobSpec") -> dict[str, Any]:
    return {"type": spec.type, "payload": json.loads(spec.payload), "leaseMs": spec.lease_ms}
