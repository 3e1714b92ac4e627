"""Health pages: how long they may take."""

from types import SimpleNamespace
from typing import Any, cast

from aiohttp.test_utils import make_mocked_request

from osqueue.errors import OsqueueError
from osqueue_gateway.metrics import Metrics
from osqueue_gateway.pages import READY_MS, Pages


class SilentBroker:
    """Answers nothing for as long as it is given, and `now_s` moves on meanwhile."""

    def __init__(self) -> None:
        self.now_s = 100.0

    async def probe(self, rpc: Any, request: Any, timeout_ms: int) -> None:
        self.now_s += timeout_ms / 1_000
        raise OsqueueError("no answer", reason="OUTCOME_UNKNOWN")


async def test_readiness_is_answered_in_time_whoever_is_silent() -> None:
    broker = SilentBroker()
    calls = SimpleNamespace(draining=False)
    pages = Pages(cast(Any, broker), cast(Any, calls), Metrics(), clock=lambda: broker.now_s)
    answer = await pages.readyz(make_mocked_request("GET", "/readyz"))
    assert answer.status == 503
    assert broker.now_s - 100 <= READY_MS / 1_000 <= 2
