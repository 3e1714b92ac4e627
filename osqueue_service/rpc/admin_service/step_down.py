"""StepDown."""

import logging

from osqueue_service.rpc.access.signing import execute_signed
from osqueue_service.rpc.broker import Peer
from osqueue_service.rpc.fields import Violations, check_text
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import commit_position
from osqueue_service.state.commands import NoteStepDown
from osqueue_stubs.osqueue.v1 import admin_pb2

log = logging.getLogger(__name__)


class StepDown:
    """Serves StepDown."""

    def __init__(self, broker: Peer) -> None:
        self._broker = broker
        self._limits = broker.limits

    async def StepDown(self, request: admin_pb2.StepDownRequest, context: Context) -> admin_pb2.StepDownResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_text(request.reason, "reason", self._limits.reason_bytes, "reason_bytes", wrong)
        wrong.check()
        log.warning("asked to step down: %s", request.reason or "no reason given")
        await execute_signed(engine, NoteStepDown(), context)
        await self._broker.step_down()
        return admin_pb2.StepDownResponse(commit=commit_position(engine))
