"""The operator's calls as messages of the API, over whatever carries those."""

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from osqueue.admin_messages import (
    DeadGroups,
    History,
    HistoryRequest,
    PausedTypes,
    StatePart,
    SteppedDown,
    StorageStats,
    TypesRequest,
    WorkerPage,
)
from osqueue.api.mapping import reader, to_message
from osqueue.messages import ChangePage, Selection
from osqueue_stubs.osqueue.v1 import admin_pb2

if TYPE_CHECKING:
    from osqueue.transports.wire import Link


class WireAdmin:
    """`AdminTransport` over a link."""

    _link: "Link"

    async def list_workers(self, *, page_size: int, page_token: str, timeout_ms: int) -> WorkerPage:
        request = admin_pb2.ListWorkersRequest(page_size=page_size, page_token=page_token)
        answer = await self._link.call("ListWorkers", request, timeout_ms)
        return reader(WorkerPage, admin_pb2.ListWorkersResponse)(answer)

    async def group_dead(self, types: Sequence[str], *, max_groups: int, timeout_ms: int) -> DeadGroups:
        request = admin_pb2.GroupDeadRequest(types=types, max_groups=max_groups)
        answer = await self._link.call("GroupDead", request, timeout_ms)
        return reader(DeadGroups, admin_pb2.GroupDeadResponse)(answer)

    async def get_history(self, request: HistoryRequest, *, timeout_ms: int) -> History:
        answer = await self._link.call("GetHistory", to_message(request, admin_pb2.GetHistoryRequest), timeout_ms)
        return reader(History, admin_pb2.GetHistoryResponse)(answer)

    async def get_storage_stats(self, *, timeout_ms: int) -> StorageStats:
        answer = await self._link.call("GetStorageStats", admin_pb2.GetStorageStatsRequest(), timeout_ms)
        return reader(StorageStats, admin_pb2.GetStorageStatsResponse)(answer)

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
