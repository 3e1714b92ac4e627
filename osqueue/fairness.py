"""Fair turns between keys, such as tenants: `client.fairness`."""

from collections.abc import AsyncIterator, Callable
from functools import partial

from osqueue.calls.reading import read
from osqueue.encoding import invalid
from osqueue.flow_messages import FairnessKeysRequest, FairnessWeight
from osqueue.session import Session
from osqueue.stats import FairnessKeyInfo
from osqueue.submission import text

KEYS_PER_PAGE = 1_000


class Fairness:
    """The fairness keys of a queue. Jobs name one with `fairness_key="acme"`.

        await client.fairness.weigh("acme", 3)

    Each method can fail as every call can; `BrokerProtocolError` says what is wrong with its arguments.
    """

    def __init__(self, open_session: Callable[[], Session]) -> None:
        self._open = open_session

    async def weigh(self, key: str, weight: float) -> None:
        """Set how many turns a key has for one of a key of weight 1: 0.001 to 1,000, and 1 unless it is set. The key ""
        stands for all jobs without one."""
        if not isinstance(weight, int | float) or isinstance(weight, bool):
            raise invalid("weight", f"must be a number, got {type(weight).__name__}")
        session, request = self._open(), FairnessWeight(text("key", key), float(weight))
        await session.change(lambda: session.transport.ask(request, timeout_ms=session.timeout_ms))

    async def list_keys(self) -> AsyncIterator[FairnessKeyInfo]:
        """The keys that have jobs or a weight of their own, in order."""
        session = self._open()
        token = ""
        while True:
            request = FairnessKeysRequest(KEYS_PER_PAGE, token)
            page = await read(session, partial(session.transport.ask, request, timeout_ms=session.timeout_ms))
            for key in page.keys:
                yield key
            token = page.next_page_token
            if not token:
                return
