"""PauseTypes, ResumeTypes."""

from osqueue_service.rpc.access.signing import execute_signed
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import TypeNames, Violations, check_name
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import commit_position
from osqueue_service.state.commands import PauseTypes, ResumeTypes
from osqueue_stubs.osqueue.v1 import admin_pb2


class Pauses:
    """Serves PauseTypes and ResumeTypes."""

    def __init__(self, broker: Broker, types: TypeNames) -> None:
        self._broker = broker
        self._limits = broker.limits
        self._types = types

    async def PauseTypes(self, request: admin_pb2.PauseTypesRequest, context: Context) -> admin_pb2.PauseTypesResponse:
        engine = self._broker.engine
        paused = await execute_signed(engine, PauseTypes(self._read_types(request)), context)
        return admin_pb2.PauseTypesResponse(paused_types=paused, commit=commit_position(engine))

    async def ResumeTypes(
        self, request: admin_pb2.ResumeTypesRequest, context: Context
    ) -> admin_pb2.ResumeTypesResponse:
        engine = self._broker.engine
        paused = await execute_signed(engine, ResumeTypes(self._read_types(request)), context)
        return admin_pb2.ResumeTypesResponse(paused_types=paused, commit=commit_position(engine))

    def _read_types(self, request: admin_pb2.PauseTypesRequest | admin_pb2.ResumeTypesRequest) -> list[str]:
        wrong = Violations()
        names = self._types.read_all(request.types, "types", self._limits.claim_types, wrong, least=1)
        check_name(request.request_id, "request_id", self._limits.id_chars, wrong)
        wrong.check()
        return names
