"""Purge."""

from osqueue_service.errors import InvalidRequest, OsqueueError
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import TypeNames
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import commit_position
from osqueue_service.rpc.selections import Chosen, Selector
from osqueue_service.rpc.status import item_error
from osqueue_service.state.commands import Purge
from osqueue_service.state.model import FINISHED, LIVE
from osqueue_stubs.osqueue.v1 import admin_pb2


class Purges:
    """Serves Purge."""

    def __init__(self, broker: Broker, types: TypeNames) -> None:
        self._broker = broker
        self._selector = Selector(broker, types)

    async def Purge(self, request: admin_pb2.PurgeRequest, context: Context) -> admin_pb2.PurgeResponse:
        engine = self._broker.engine
        selection = await self._selector.select(engine, request, "Purge", FINISHED)
        removable = [job.job_id for job in selection.jobs if job.status not in LIVE]
        answers = iter(await self._selector.change(engine, Purge(removable), request.dry_run, context))
        response = admin_pb2.PurgeResponse(next_page_token=selection.next_page_token)
        purged = False
        for chosen in selection.jobs:
            result = response.results.add(job_id=chosen.job_id)
            answer = _live_refusal(chosen) if chosen.status in LIVE else next(answers)
            if answer is not None:
                result.error.CopyFrom(item_error(answer))
            elif chosen.status is not None:
                result.purged_status = chosen.status.wire
                purged = True
        if purged and not request.dry_run:
            response.commit.CopyFrom(commit_position(engine))
        return response


def _live_refusal(chosen: Chosen) -> OsqueueError:
    assert chosen.status is not None
    return InvalidRequest.field(
        "job_id", f"job {chosen.job_id} is {chosen.status.wire}; only a finished job can be purged: cancel it first"
    )
