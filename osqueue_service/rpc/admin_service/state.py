"""GetState."""

from collections.abc import AsyncIterator

from osqueue_service.engine.engine import Engine
from osqueue_service.log import CheckpointRef, Root
from osqueue_service.log.paths import checkpoint_prefix
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.job_info import info_bytes, job_info
from osqueue_service.rpc.positions import view_position
from osqueue_service.state.model import LIVE
from osqueue_service.state.queries.filters import Filter
from osqueue_service.state.state import State
from osqueue_stubs.osqueue.v1 import admin_pb2, job_pb2

CHUNK_JOBS = 500
CHUNK_BYTES = 1024 * 1024
"""How much of the state travels per message: the broker does nothing else while it builds one."""

_LIVE = Filter(LIVE)
_VIEW = job_pb2.JOB_VIEW_UNSPECIFIED


class QueueState:
    """Serves GetState."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def GetState(
        self, request: admin_pb2.GetStateRequest, context: Context
    ) -> AsyncIterator[admin_pb2.GetStateResponse]:
        engine = self._broker.engine
        chunk, after = await _next_chunk(engine, 0, self._broker.root)
        yield chunk
        while after is not None:
            chunk, after = await _next_chunk(engine, after)
            yield chunk


Chunk = tuple[admin_pb2.GetStateResponse, int | None]


async def _next_chunk(engine: Engine, after: int, root: Root | None = None) -> Chunk:
    """The next jobs after this number, and the number after which to go on; with `root`, the header before them."""
    return await engine.views.read(lambda state: _chunk(engine, state, after, root))


def _chunk(engine: Engine, state: State, after: int, root: Root | None) -> Chunk:
    chunk = admin_pb2.GetStateResponse()
    if root is not None:
        chunk.header.CopyFrom(_header(engine, state, root))
    size = 0
    for job in _LIVE.candidates(state, after):
        if len(chunk.jobs) == CHUNK_JOBS or size > CHUNK_BYTES:
            return chunk, after
        chunk.jobs.append(job_info(engine, state, job, _VIEW))
        size += info_bytes(job, _VIEW)
        after = job.number
    return chunk, None


def _header(engine: Engine, state: State, root: Root) -> admin_pb2.StateHeader:
    header = admin_pb2.StateHeader(
        broker=root.broker or "",
        broker_heartbeat=root.broker_heartbeat,
        completed_total=state.counters.completed,
        grpc_address=root.grpc_address or "",
        incarnation=root.incarnation,
        format=root.format,
        jobs_total=state.live,
        position=view_position(engine),
    )
    if root.checkpoint.form == "objects":
        header.checkpoint.CopyFrom(_checkpoint(root.checkpoint))
    return header


def _checkpoint(checkpoint: CheckpointRef) -> admin_pb2.CheckpointInfo:
    return admin_pb2.CheckpointInfo(
        object=checkpoint_prefix(checkpoint.sequence, checkpoint.epoch),
        epoch=checkpoint.epoch,
        sequence=checkpoint.sequence,
        bytes=checkpoint.size,
        sha256=checkpoint.sha256,
    )
