"""PutLimit, GetLimit, ListLimits, DeleteLimit."""

from osqueue_service.errors import InvalidRequest
from osqueue_service.rpc.access.signing import execute_signed
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import TypeNames, Violations
from osqueue_service.rpc.flow_service.limit_settings import SettingsReader, check_limit_name, settings_message
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import commit_position, view_position
from osqueue_service.rpc.refusals import telling, told
from osqueue_service.state.commands import DeleteLimit, PutLimit
from osqueue_service.state.limit_table import Family
from osqueue_service.state.state import State
from osqueue_stubs.osqueue.v1 import flow_pb2


class NamedLimits:
    """Serves PutLimit, GetLimit, ListLimits and DeleteLimit."""

    def __init__(self, broker: Broker, types: TypeNames) -> None:
        self._broker = broker
        self._reader = SettingsReader(broker.limits, types)

    async def PutLimit(self, request: flow_pb2.PutLimitRequest, context: Context) -> flow_pb2.PutLimitResponse:
        engine = self._broker.engine
        wrong = Violations()
        limit = self._reader.read(request.limit, wrong)
        wrong.check()
        created = await execute_signed(engine, PutLimit(limit), context)
        return flow_pb2.PutLimitResponse(created=created, commit=commit_position(engine))

    async def GetLimit(self, request: flow_pb2.GetLimitRequest, context: Context) -> flow_pb2.GetLimitResponse:
        engine = self._broker.engine

        def view(state: State) -> flow_pb2.GetLimitResponse:
            family = state.limits.families.get(request.name)
            if family is None or family.limit is None:
                raise InvalidRequest.field("name", f"there is no limit {request.name!r}")
            return flow_pb2.GetLimitResponse(limit=_info(family), position=view_position(engine))

        wrong = Violations()
        check_limit_name(request.name, "name", wrong)
        wrong.check()
        return told(await engine.views.read(telling(view)))

    async def ListLimits(self, request: flow_pb2.ListLimitsRequest, context: Context) -> flow_pb2.ListLimitsResponse:
        engine = self._broker.engine

        def view(state: State) -> flow_pb2.ListLimitsResponse:
            families = [family for _, family in sorted(state.limits.families.items()) if family.limit is not None]
            return flow_pb2.ListLimitsResponse(limits=map(_info, families), position=view_position(engine))

        return await engine.views.read(view)

    async def DeleteLimit(self, request: flow_pb2.DeleteLimitRequest, context: Context) -> flow_pb2.DeleteLimitResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_limit_name(request.name, "name", wrong)
        wrong.check()
        done = await execute_signed(engine, DeleteLimit(request.name, request.detach), context)
        return flow_pb2.DeleteLimitResponse(deleted=done.deleted, detached=done.named, commit=commit_position(engine))


def _info(family: Family) -> flow_pb2.LimitInfo:
    assert family.limit is not None
    return flow_pb2.LimitInfo(
        limit=settings_message(family.limit),
        running=family.running,
        waiting=family.waiting,
        keys=len(family.keys),
        keys_at_limit=family.parked,
    )
