"""osqueue in a FastAPI or Starlette application: a client for its lifetime, and a dependency that hands it out.

queue = Queue("grpc://localhost:8081", registry=registry)
app = FastAPI(lifespan=queue.lifespan)

@app.post("/reports")
async def order(wanted: Report, client: Annotated[OsqueueClient, Depends(queue)]) -> ...:
    await client.submit_job(report, wanted)
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from osqueue.client import OsqueueClient
from osqueue.errors import ConfigError


class Queue:
    """Opens a client when the application starts, and closes it when it stops.

    The arguments are those of `OsqueueClient`. `lifespan` goes to the application; one that has a lifespan of its own
    enters `async with queue.lifespan(app):` in it. The object itself is the dependency.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._args = args
        self._options = options
        self._client: OsqueueClient | None = None

    async def __call__(self) -> OsqueueClient:
        """The open client. A coroutine function, so that FastAPI calls it in the event loop."""
        if self._client is None:
            raise ConfigError("the queue's client is not open: give the application lifespan=queue.lifespan")
        return self._client

    def lifespan(self, app: object) -> AbstractAsyncContextManager[None]:
        """What FastAPI and Starlette take as `lifespan`."""
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        async with OsqueueClient(*self._args, **self._options) as client:
            self._client = client
            try:
                yield
            finally:
                self._client = None
