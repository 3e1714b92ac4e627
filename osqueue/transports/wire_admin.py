"""The operator's calls as messages of the API, over whatever carries those."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from osqueue.admin_messages import (
    PausedTypes,
    StatePart,
    SteppedDown,
    TypesRequest,
)
from osqueue.api.mapping import reader, to_message
from osqueue.messages import ChangePage, Selection
from osqueue_stubs.osqueue.v1 import admin_pb2

if TYPE_CHECKING:
    from osqueue.transports.wire import Link


class WireAdmin:
    """`AdminTransport` over a link."""

    _link: "Link"

    async def get_state(self) -> AsyncIterator[StatePart]:
        read = reader(StatePart, admin_pb2.GetStateResponse)
        async for part in self._link.stream("GetState", admin_pb2.GetStateRequest()):
            yield read(part)

    async def pause_types(self, request: TypesRequest, *, timeout_ms: int) -> PausedTypes:
        answer = await self._link.call("PauseTypes", to_message(request, admin_pb2.PauseTypesRequest), timeout_ms)
        return reader(PausedTypes, admin_pb2.PauseTypesResponse)(answer)

    async def resume_types(self, request: TypesRequest, *, timeout_ms: int) -> PausedTypes:
        answer = await self._link.call("ResumeTypes", to_message(request, admin_pb2.ResumeTypesRequest), timeout_ms)
        return reader(PausedTypes, admin_pb2.ResumeTypesResponse)(answer)

    async def purge(self, selection: Selection, *, timeout_ms: int) -> ChangePage:
        answer = await self._link.call("Purge", to_message(selection, admin_pb2.PurgeRequest), timeout_ms)
        return reader(ChangePage, admin_pb2.PurgeResponse)(answer)

    async def step_down(self, reason: str, *, timeout_ms: int) -> SteppedDown:
        answer = await self._link.call("StepDown", admin_pb2.StepDownRequest(reason=reason), timeout_ms)
        return reader(SteppedDown, admin_pb2.StepDownResponse)(answer)
