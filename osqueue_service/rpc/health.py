"""grpc.health.v1: "" says that the process lives, `osqueue.v1.QueueService` that this broker leads, and
`osqueue.v1.StandbyService` that it could: that no later release wrote what is stored.

Answered without a token, because those who start and watch processes have none; it tells nothing else.
"""

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio

from osqueue_service.errors import NotLeader
from osqueue_service.limits import Limits
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.shutdown import Shutdown

LEADING = "osqueue.v1.QueueService"
ABLE = "osqueue.v1.StandbyService"
SERVICES = ("", LEADING, ABLE)

_Response = health_pb2.HealthCheckResponse


class Health(aio.HealthServicer):
    """The health service. Its watchers are told to leave when the server stops."""

    def __init__(self, shutdown: Shutdown, limits: Limits) -> None:
        super().__init__()
        self._shutdown = shutdown
        self._watches = 0
        self._watches_max = limits.health_watches
        self._telling: set[asyncio.Task[None]] = set()
        self.lead(False)
        self.able(True)

    def able(self, able: bool) -> None:
        """This broker can take over from now on, or cannot: a later release wrote what is stored."""
        self._tell(ABLE, _Response.SERVING if able else _Response.NOT_SERVING)

    def lead(self, leading: bool) -> None:
        """This broker leads from now on, or no longer does."""
        self._tell(LEADING, _Response.SERVING if leading else _Response.NOT_SERVING)

    def stop(self) -> None:
        """The process is about to end."""
        self._tell("", _Response.NOT_SERVING)
        self.lead(False)
        self.able(False)

    async def List(self, request: Any, context: Context) -> Any:
        messages: Any = health_pb2  # its type declarations are older than this method
        return messages.HealthListResponse(
            statuses={name: await self.Check(health_pb2.HealthCheckRequest(service=name), context) for name in SERVICES}
        )

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        if self._watches >= self._watches_max:
            full = f"{self._watches_max} watches are open, which is the limit (health_watches): ask by Check"
            end = context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, full)
        else:
            self._watches += 1
            try:
                await self._shutdown.until(super().Watch(request, context))
            except NotLeader as leaving:
                end = context.abort(grpc.StatusCode.UNAVAILABLE, leaving.message)
            finally:
                self._watches -= 1
        del request, context
        await end

    def _tell(self, service: str, status: Any) -> None:
        # Telling watchers takes a turn of the loop; the caller need not wait for it.
        telling = asyncio.get_running_loop().create_task(self.set(service, status))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)
