"""A producer without an SDK: it posts jobs to a gateway, and posts again until it hears that they are there."""

import asyncio
import itertools
import json
from typing import Any

import aiohttp

from tests.chaos.load import LEASE_MS, PAUSE_S, Load
from tests.chaos.recording import now_ms
from tests.checkers.history import OK, Event, outcome_of

TIMEOUT_S = 3.0
AGAIN_S = 0.1


async def produce(load: Load, name: str, url: str) -> None:
    """Submit jobs one after the other, each under a key of its own, until the load has had enough."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
        for number in itertools.count():
            if load.enough:
                return
            key = f"{name}-{number}"
            payload = {"n": key, "do": "complete"}
            body = {"type": "work", "payload": payload, "leaseMs": LEASE_MS, "idempotencyKey": key}
            while not await _submitted(load, name, session, f"{url}/v1/jobs", body):
                await asyncio.sleep(AGAIN_S)
            await asyncio.sleep(PAUSE_S)


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
