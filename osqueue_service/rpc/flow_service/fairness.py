"""PutFairnessWeight, ListFairnessKeys."""

from itertools import islice

from osqueue_service.rpc.access.signing import execute_signed
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fairness import key_info
from osqueue_service.rpc.fields import Violations, check_number
from osqueue_service.rpc.flow_service.key_pages import DEFAULT_PAGE, key_before, token_of
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.limit_uses import check_fairness_key
from osqueue_service.rpc.positions import commit_position, view_position
from osqueue_service.state.commands import PutFairnessWeight
from osqueue_service.state.fairness import DEFAULT_WEIGHT
from osqueue_service.state.state import State
from osqueue_stubs.osqueue.v1 import flow_pb2


class FairnessKeys:
    """Serves PutFairnessWeight and ListFairnessKeys."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._limits = broker.limits

    async def PutFairnessWeight(
        self, request: flow_pb2.PutFairnessWeightRequest, context: Context
    ) -> flow_pb2.PutFairnessWeightResponse:
        engine, limits = self._broker.engine, self._limits
        wrong = Violations()
        check_fairness_key(request.key, "key", limits, wrong)
        most = limits.fairness_weight_max
        if not 1 / DEFAULT_WEIGHT <= request.weight <= most:  # so NaN is refused, too
            wrong.add(
                "weight",
                f"is {request.weight:g}; it must be from 0.001 to {most:,} (fairness_weight_max); 1 is the default. To "
                "hold a key, put a limit with max_running 0 on it",
            )
        wrong.check()
        command = PutFairnessWeight(request.key, round(request.weight * DEFAULT_WEIGHT))
        await execute_signed(engine, command, context)
        return flow_pb2.PutFairnessWeightResponse(commit=commit_position(engine))

    async def ListFairnessKeys(
        self, request: flow_pb2.ListFairnessKeysRequest, context: Context
    ) -> flow_pb2.ListFairnessKeysResponse:
        engine = self._broker.engine
        wrong = Violations()
        size = request.page_size or DEFAULT_PAGE
        check_number(size, "page_size", 1, self._limits.page_items, wrong)
        after = key_before(request.page_token, wrong)
        wrong.check()

        def view(state: State) -> flow_pb2.ListFairnessKeysResponse:
            page = list(islice(state.fairness.names(after), size + 1))
            return flow_pb2.ListFairnessKeysResponse(
                keys=[key_info(state.fairness, key) for key in page[:size]],
                next_page_token=token_of(page[size - 1]) if len(page) > size else "",
                position=view_position(engine),
            )

        return await engine.views.read(view)
