"""A link whose calls are for one queue with a name."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from osqueue.transports.wire import Link

FIELD = "queue"


class QueueLink:
    """Names the queue in every request that can, on another link."""

    def __init__(self, link: "Link", queue: str, *, shared: bool) -> None:
        """`shared`: whoever made the link closes it."""
        self._link = link
        self._queue = queue
        self._shared = shared

    @property
    def address(self) -> str:
        return self._link.address

    def clone(self) -> "QueueLink":
        return QueueLink(self._link.clone(), self._queue, shared=False)

    async def call(self, name: str, request: Any, timeout_ms: int) -> Any:
        """The response of the unary RPC `name`."""
        return await self._link.call(name, self._named(request), timeout_ms)

    def stream(self, name: str, request: Any) -> AsyncIterator[Any]:
        """The messages of the stream `name`. Of a stream of requests the first says which queue it is for."""
        named = self._first_named(request) if isinstance(request, AsyncIterator) else self._named(request)
        return self._link.stream(name, named)

    async def close(self) -> None:
        if not self._shared:
            await self._link.close()

    def _named(self, request: Any) -> Any:
        if FIELD in request.DESCRIPTOR.fields_by_name:
            request.queue = self._queue
        return request

    async def _first_named(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        first = True
        async for request in requests:
            yield self._named(request) if first else request
            first = False
