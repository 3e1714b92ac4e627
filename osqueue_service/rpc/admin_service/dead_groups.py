"""GroupDead."""

from osqueue_service.engine.engine import Engine
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import TypeNames, Violations, check_number
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import view_position
from osqueue_service.state.queries.dead_groups import DeadGroup, group_dead
from osqueue_service.state.state import State
from osqueue_stubs.osqueue.v1 import admin_pb2

GROUPS_DEFAULT = 100


class DeadGroups:
    """Serves GroupDead."""

    def __init__(self, broker: Broker, types: TypeNames) -> None:
        self._broker = broker
        self._limits = broker.limits
        self._types = types

    async def GroupDead(self, request: admin_pb2.GroupDeadRequest, context: Context) -> admin_pb2.GroupDeadResponse:
        engine = self._broker.engine
        limits, wrong = self._limits, Violations()
        types = frozenset(self._types.read_all(request.types, "types", limits.claim_types, wrong))
        most = request.max_groups or GROUPS_DEFAULT
        check_number(most, "max_groups", 1, limits.page_items, wrong)
        wrong.check()
        return await engine.views.read(lambda state: _grouped(engine, state, types, most))


def _grouped(engine: Engine, state: State, types: frozenset[str], most: int) -> admin_pb2.GroupDeadResponse:
    groups, others = group_dead(state, types, most)
    return admin_pb2.GroupDeadResponse(
        groups=[_group(group) for group in groups], others=others, position=view_position(engine)
    )


def _group(group: DeadGroup) -> admin_pb2.DeadGroup:
    return admin_pb2.DeadGroup(
        type=group.type,
        error_type=group.error_type,
        count=group.count,
        oldest_at=group.oldest_at,
        newest_at=group.newest_at,
        sample_message=group.sample_message,
        sample_job_ids=group.sample_job_ids,
    )
