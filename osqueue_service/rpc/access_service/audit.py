"""GetAudit."""

import re
from itertools import islice

from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import Violations, check_name, check_number
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import view_position
from osqueue_service.state.audit import ACTIONS, AuditEntry
from osqueue_service.state.state import State
from osqueue_stubs.osqueue.v1 import access_pb2

PAGE_DEFAULT = 100
PAGE_MAX = 1_000
_NUMBER = re.compile(r"[0-9]{1,18}")
ACTION_NAMES = tuple(dict.fromkeys(ACTIONS.values()))


class Audits:
    """Serves GetAudit."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._limits = broker.limits

    async def GetAudit(self, request: access_pb2.GetAuditRequest, context: Context) -> access_pb2.GetAuditResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_name(request.principal, "principal", self._limits.id_chars, wrong)
        if request.action and request.action not in ACTION_NAMES:
            wrong.add(
                "action", f"is {request.action[:40]!r}; it must be one of {', '.join(ACTION_NAMES)}, or empty for all"
            )
        if request.since < 0:
            wrong.add("since", f"is {request.since}; it must be milliseconds since 1970-01-01 UTC, or 0 for all")
        check_number(request.page_size, "page_size", 0, PAGE_MAX, wrong)
        if request.page_token and not _NUMBER.fullmatch(request.page_token):
            wrong.add("page_token", "is not one that an answer gave; begin without")
        wrong.check()
        size = request.page_size or PAGE_DEFAULT
        before = int(request.page_token or 0)
        return await engine.views.read(lambda state: self._page(state, request, before, size))

    def _page(
        self, state: State, request: access_pb2.GetAuditRequest, before: int, size: int
    ) -> access_pb2.GetAuditResponse:
        wanted = (entry for entry in state.audit.newest(before) if _matches(entry, request))
        found = list(islice(wanted, size + 1))
        response = access_pb2.GetAuditResponse(position=view_position(self._broker.engine))
        for entry in found[:size]:
            response.entries.add(
                number=entry.number,
                at=entry.at,
                principal=entry.principal,
                origin=entry.origin,
                action=entry.action,
                count=entry.count,
                names=entry.names,
            )
        if len(found) > size:
            response.next_page_token = str(found[size - 1].number)
        return response


def _matches(entry: AuditEntry, request: access_pb2.GetAuditRequest) -> bool:
    return (
        (not request.principal or entry.principal == request.principal)
        and (not request.action or entry.action == request.action)
        and entry.at >= request.since
    )
