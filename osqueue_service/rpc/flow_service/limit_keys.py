"""SetLimitOverride, ListLimitKeys, ResetLimitKey."""

from collections.abc import Iterator

from osqueue_service.errors import InvalidRequest
from osqueue_service.rpc.access.signing import execute_signed
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import TypeNames, Violations, check_number
from osqueue_service.rpc.flow_service.key_pages import DEFAULT_PAGE, key_before, token_of
from osqueue_service.rpc.flow_service.limit_settings import SettingsReader, check_limit_name, override_message
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.limit_uses import check_key
from osqueue_service.rpc.positions import commit_position, view_position
from osqueue_service.rpc.refusals import telling, told
from osqueue_service.state.commands import ResetLimitKey, SetLimitOverride
from osqueue_service.state.limit_table import FULL, OPEN, LimitKey
from osqueue_service.state.state import State
from osqueue_stubs.osqueue.v1 import flow_pb2

LOOKED_AT = 10_000
"""Keys that a page looks at, however few of them it is to show."""


class LimitKeys:
    """Serves SetLimitOverride, ListLimitKeys and ResetLimitKey."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._limits = broker.limits
        self._reader = SettingsReader(broker.limits, TypeNames(broker.limits.type_chars))

    async def SetLimitOverride(
        self, request: flow_pb2.SetLimitOverrideRequest, context: Context
    ) -> flow_pb2.SetLimitOverrideResponse:
        engine = self._broker.engine
        wrong = self._checked(request.name, request.key)
        override = self._reader.override(request.override, wrong) if request.HasField("override") else None
        wrong.check()
        await execute_signed(engine, SetLimitOverride(request.name, request.key, override), context)
        return flow_pb2.SetLimitOverrideResponse(commit=commit_position(engine))

    async def ResetLimitKey(
        self, request: flow_pb2.ResetLimitKeyRequest, context: Context
    ) -> flow_pb2.ResetLimitKeyResponse:
        engine = self._broker.engine
        self._checked(request.name, request.key).check()
        await execute_signed(engine, ResetLimitKey(request.name, request.key), context)
        return flow_pb2.ResetLimitKeyResponse(commit=commit_position(engine))

    async def ListLimitKeys(
        self, request: flow_pb2.ListLimitKeysRequest, context: Context
    ) -> flow_pb2.ListLimitKeysResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_limit_name(request.name, "name", wrong)
        size = request.page_size or DEFAULT_PAGE
        check_number(size, "page_size", 1, self._limits.page_items, wrong)
        after = key_before(request.page_token, wrong)
        wrong.check()
        now_ms, at_limit = engine.now_ms(), request.at_limit

        def view(state: State) -> flow_pb2.ListLimitKeysResponse:
            family = state.limits.families.get(request.name)
            if family is None or family.limit is None:
                raise InvalidRequest.field("name", f"there is no limit {request.name!r}")
            page, last = _page(family.keys_behind(after), size, at_limit, now_ms)
            return flow_pb2.ListLimitKeysResponse(
                keys=[_info(row, now_ms) for row in page],
                next_page_token=token_of(last) if last is not None else "",
                position=view_position(engine),
            )

        return told(await engine.views.read(telling(view)))

    def _checked(self, name: str, key: str) -> Violations:
        wrong = Violations()
        check_limit_name(name, "name", wrong)
        check_key(key, "key", self._limits, wrong)
        return wrong


def _page(rows: Iterator[LimitKey], size: int, at_limit: bool, now_ms: int) -> tuple[list[LimitKey], str | None]:
    """The rows of a page, and the key behind which the next begins; None: there is none."""
    page: list[LimitKey] = []
    before: LimitKey | None = None
    for looked_at, row in enumerate(rows):
        if len(page) == size or looked_at == LOOKED_AT:
            assert before is not None
            return page, before.key
        if not (at_limit and row.opens(1, now_ms) == OPEN):
            page.append(row)
        before = row
    return page, None


def _info(row: LimitKey, now_ms: int) -> flow_pb2.LimitKeyInfo:
    opens = row.opens(1, now_ms)
    return flow_pb2.LimitKeyInfo(
        key=row.key,
        running=row.running,
        max_running=row.max_running if row.max_running >= 0 else None,
        waiting=row.waiting,
        tokens=row.tokens(now_ms) if row.rate is not None else None,
        next_start_at=0 if opens in (OPEN, FULL) else opens,
        override=override_message(row.override) if row.override is not None else None,
        at_limit=opens != OPEN,
    )
