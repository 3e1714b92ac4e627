"""Callers without an SDK, over HTTP and WebSocket.

Some post jobs to a gateway until they hear that they are there, some wait for jobs, and one asks whether it is ready.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import aiohttp

from tests.chaos.load import LEASE_MS, PAUSE_S, Load
from tests.chaos.recording import now_ms
from tests.checkers.history import OK, Event, outcome_of

TIMEOUT_S = 3.0
AGAIN_S = 0.1
WAIT_MS = 20_000
OUTAGE = ("OUTCOME_UNKNOWN", "NOT_LEADER")
"""What a gateway says when no broker answered in time."""


async def produce(load: Load, name: str, url: str) -> None:
    """Submit jobs one after the other, each under a key of its own, until the load has had enough."""
    async with _session() as session:
        for number in itertools.count():
            if load.enough:
                return
            await _submit(load, name, session, url, f"{name}-{number}", "work")
            await asyncio.sleep(PAUSE_S)


async def submit(load: Load, name: str, url: str, type: str) -> None:
    """Submit one job, as often as it takes."""
    async with _session() as session:
        await _submit(load, name, session, url, name, type)


async def work(url: str, worker: str) -> None:
    """Claim and complete the jobs of the type "work", for ever."""
    async with _session() as session:
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                body = {"workerId": worker, "types": ["work"], "waitMs": 1_000}
                async with session.post(f"{url}/v1/jobs/claim", json=body) as response:
                    claim = await response.json() if response.status == 200 else {}
                if "jobId" in claim:
                    held = {"workerId": worker, "leaseToken": claim["leaseToken"]}
                    async with session.post(f"{url}/v1/jobs/{claim['jobId']}/complete", json=held) as response:
                        await response.read()
                    continue
            await asyncio.sleep(AGAIN_S)


Call = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Calls a method with these parameters: the answer, or the error's object, which has a "message"."""


async def wait_for_job(url: str, worker: str, type: str) -> None:
    """Wait for one job of this type, and complete it. A call that may have been lost with its leader is repeated."""
    async with aiohttp.ClientSession() as session:

        async def call(method: str, params: dict[str, Any]) -> dict[str, Any]:
            path = "claim" if method == "claimJob" else f"{params.pop('jobId')}/complete"
            async with session.post(f"{url}/v1/jobs/{path}", json=params) as response:
                return cast("dict[str, Any]", await response.json())

        await _one_job(call, worker, type)


async def wait_for_job_on_a_socket(url: str, worker: str, type: str) -> None:
    """As `wait_for_job`, over a WebSocket."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/v1/ws") as socket:

        async def call(method: str, params: dict[str, Any]) -> dict[str, Any]:
            await socket.send_json({"id": 1, "method": method, "params": params})
            answer = json.loads((await socket.receive()).data)
            return cast("dict[str, Any]", answer["result"] if answer["ok"] else answer["error"])

        await _one_job(call, worker, type)


async def _one_job(call: Call, worker: str, type: str) -> None:
    while "jobId" not in (claim := await call("claimJob", {"workerId": worker, "types": [type], "waitMs": WAIT_MS})):
        assert claim.get("reason") in (None, *OUTAGE), claim
    held = {"jobId": claim["jobId"], "workerId": worker, "leaseToken": claim["leaseToken"]}
    while "message" in (done := await call("completeJob", dict(held))):
        assert done.get("reason") in OUTAGE, done


async def readiness(url: str, answers_s: list[float]) -> None:
    """Ask for /readyz again and again, and note how long each answer took, whatever it was."""
    async with aiohttp.ClientSession() as session:
        while True:
            began_s = time.monotonic()
            async with session.get(f"{url}/readyz") as response:
                await response.read()
            answers_s.append(time.monotonic() - began_s)
            await asyncio.sleep(AGAIN_S)


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))


async def _submit(load: Load, name: str, session: aiohttp.ClientSession, url: str, key: str, type: str) -> None:
    payload = {"n": key, "do": "complete"}
    body = {"type": type, "payload": payload, "leaseMs": LEASE_MS, "idempotencyKey": key}
    while not await _submitted(load, name, session, f"{url}/v1/jobs", body):
        await asyncio.sleep(AGAIN_S)


async def _submitted(load: Load, name: str, session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> bool:
    """One attempt; whether it was acknowledged."""
    text = json.dumps(body["payload"])
    event = load.history.begin(
        name, "submit", now_ms(), key=body["idempotencyKey"], arguments={"payload": text, "address": url}
    )
    try:
        async with session.post(url, json=body) as response:
            answer = await response.json()
            _end(event, response.status, answer)
    except (aiohttp.ClientError, TimeoutError) as error:
        event.returned, event.reason = now_ms(), type(error).__name__
    load.ended(event)
    return event.outcome == OK


def _end(event: Event, status: int, answer: dict[str, Any]) -> None:
    event.returned = now_ms()
    if status == 200:
        # A repeated key is answered alike, whether or not it was the first: the gateway does not say.
        event.outcome, event.job, event.answer = OK, answer["jobId"], "keyed"
    else:
        event.reason = answer.get("reason", "")
        event.outcome = outcome_of(event.reason)
