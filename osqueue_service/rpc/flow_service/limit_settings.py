"""What is put of a limit, read and shown."""

import re

from osqueue_service.limits import Limits
from osqueue_service.rpc.fields import TypeNames, Violations, check_number, check_printable, shown
from osqueue_service.state.named_limits import AtLimit, NamedLimit, Override, Rate
from osqueue_stubs.osqueue.v1 import flow_pb2

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DEFAULT_DEBT_MS = 600_000
_AT_LIMIT = {way: flow_pb2.AtLimit.Value(f"AT_LIMIT_{way.name}") for way in AtLimit}
_WAYS = {number: way for way, number in _AT_LIMIT.items()} | {flow_pb2.AT_LIMIT_UNSPECIFIED: AtLimit.WAIT}


def check_limit_name(name: str, field: str, wrong: Violations) -> None:
    """The name of a limit, which stands in paths."""
    if _NAME.fullmatch(name) is None:
        wrong.add(field, f"{shown(name)} is not a name of 1 to 64 characters of A-Z a-z 0-9 _ -")


class SettingsReader:
    """Reads what operators put."""

    def __init__(self, limits: Limits, types: TypeNames) -> None:
        self._limits = limits
        self._types = types

    def read(self, said: flow_pb2.LimitSettings, wrong: Violations) -> NamedLimit:
        """The limit as the queue keeps it; meaningless if anything was wrong."""
        limits, field = self._limits, "limit."
        check_limit_name(said.name, f"{field}name", wrong)
        max_running = self._max_running(said, field, wrong)
        rate = self._rate(said.rate, f"{field}rate.", wrong) if said.HasField("rate") else None
        if max_running < 0 and rate is None and not said.max_waiting_per_key:
            wrong.add("limit", "limits nothing: set max_running, rate or max_waiting_per_key")
        if said.at_limit not in _WAYS:
            wrong.add(f"{field}at_limit", f"is {said.at_limit}, which this broker does not know")
        check_number(said.max_waiting_per_key, f"{field}max_waiting_per_key", 0, limits.jobs, wrong)
        check_number(said.max_debt_ms, f"{field}max_debt_ms", 0, limits.limit_debt_ms_max, wrong, " ms")
        return NamedLimit(
            said.name,
            max_running,
            rate,
            said.per_key,
            _WAYS.get(said.at_limit, AtLimit.WAIT),
            said.max_waiting_per_key,
            said.max_debt_ms or _DEFAULT_DEBT_MS,
            self._read_types(said, wrong),
        )

    def override(self, said: flow_pb2.LimitOverride, wrong: Violations) -> Override:
        """What is to differ for a key."""
        max_running = self._max_running(said, "override.", wrong)
        rate = self._rate(said.rate, "override.rate.", wrong) if said.HasField("rate") else None
        if max_running < 0 and rate is None:
            wrong.add("override", "changes nothing: set max_running or rate, or leave it out to take back what differs")
        if said.expires_at < 0:
            wrong.add("override.expires_at", f"is {said.expires_at}; it must be milliseconds since 1970-01-01 UTC")
        return Override(max_running, rate, said.expires_at)

    def _max_running(self, said: flow_pb2.LimitSettings | flow_pb2.LimitOverride, field: str, wrong: Violations) -> int:
        if not said.HasField("max_running"):
            return -1
        check_number(said.max_running, f"{field}max_running", 0, self._limits.limit_cost_max, wrong)
        return said.max_running

    def _rate(self, said: flow_pb2.Rate, field: str, wrong: Violations) -> Rate:
        most = self._limits.limit_cost_max
        check_number(said.limit, f"{field}limit", 1, most, wrong)
        check_number(said.period_ms, f"{field}period_ms", 1, self._limits.limit_period_ms_max, wrong, " ms")
        check_number(said.burst, f"{field}burst", 0, most, wrong)
        return Rate(said.limit, said.period_ms, said.burst or said.limit)

    def _read_types(self, said: flow_pb2.LimitSettings, wrong: Violations) -> dict[str, str] | None:
        if len(said.types) > self._limits.limit_types:
            wrong.add(
                "limit.types",
                f"has {len(said.types)} elements; at most {self._limits.limit_types} are allowed (limit_types)",
            )
        read = {}
        for name, label in sorted(said.types.items()):
            where = f"limit.types[{shown(name)}]"
            if said.per_key and not label:
                wrong.add(where, "is empty: name the metadata field that holds the key")
            elif label and not said.per_key:
                wrong.add(where, "names a metadata field, and the limit has no keys: set per_key, or leave it empty")
            check_printable(label, where, wrong)
            read[self._types.read(name, where, wrong)] = label
        return read or None


def rate_message(rate: Rate) -> flow_pb2.Rate:
    return flow_pb2.Rate(limit=rate.limit, period_ms=rate.period_ms, burst=rate.burst)


def settings_message(limit: NamedLimit) -> flow_pb2.LimitSettings:
    """The limit as it was put, defaults included."""
    return flow_pb2.LimitSettings(
        name=limit.name,
        max_running=limit.max_running if limit.max_running >= 0 else None,
        rate=rate_message(limit.rate) if limit.rate is not None else None,
        per_key=limit.per_key,
        at_limit=_AT_LIMIT[limit.at_limit],
        max_waiting_per_key=limit.max_waiting,
        types=limit.types,
        max_debt_ms=limit.max_debt_ms,
    )


def override_message(override: Override) -> flow_pb2.LimitOverride:
    """What differs for a key."""
    return flow_pb2.LimitOverride(
        max_running=override.max_running if override.max_running >= 0 else None,
        rate=rate_message(override.rate) if override.rate is not None else None,
        expires_at=override.expires_at,
    )
