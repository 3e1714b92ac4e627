"""Calls about batches as messages of the API, over whatever carries those."""

from typing import TYPE_CHECKING

from osqueue.api.mapping import reader, to_message
from osqueue.batch_messages import (
    AddedToBatch,
    AddToBatchRequest,
    CancelledBatch,
    OpenBatchRequest,
    OpenedBatch,
    SealedBatch,
)
from osqueue_stubs.osqueue.v1 import batches_pb2

if TYPE_CHECKING:
    from osqueue.transports.wire import Link


class WireBatches:
    """`BatchTransport` over a link."""

    _link: "Link"

    async def open_batch(self, request: OpenBatchRequest, *, timeout_ms: int) -> OpenedBatch:
        asked = to_message(request, batches_pb2.OpenBatchRequest)
        answer = await self._link.call("OpenBatch", asked, timeout_ms)
        return reader(OpenedBatch, batches_pb2.OpenBatchResponse)(answer)

    async def add_to_batch(self, request: AddToBatchRequest, *, timeout_ms: int) -> AddedToBatch:
        asked = to_message(request, batches_pb2.AddToBatchRequest)
        answer = await self._link.call("AddToBatch", asked, timeout_ms)
        return reader(AddedToBatch, batches_pb2.AddToBatchResponse)(answer)

    async def seal_batch(self, batch_id: str, *, timeout_ms: int) -> SealedBatch:
        answer = await self._link.call("SealBatch", batches_pb2.SealBatchRequest(batch_id=batch_id), timeout_ms)
        return reader(SealedBatch, batches_pb2.SealBatchResponse)(answer)

    async def cancel_batch(self, batch_id: str, *, timeout_ms: int) -> CancelledBatch:
        answer = await self._link.call("CancelBatch", batches_pb2.CancelBatchRequest(batch_id=batch_id), timeout_ms)
        return reader(CancelledBatch, batches_pb2.CancelBatchResponse)(answer)
