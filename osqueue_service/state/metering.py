"""What ended attempts say of their limits: how much of a rate they really used, and that a key is to be held."""

from osqueue_service.errors import InvalidRequest
from osqueue_service.state.commands import LimitReport
from osqueue_service.state.limit_table import LimitKey
from osqueue_service.state.model import Job, LimitUse
from osqueue_service.state.named_limits import NS_PER_MS, Meter
from osqueue_service.state.records import AnyRecord, Metered
from osqueue_service.state.state import State


class Corrections:
    """The reports of one call's attempts, each on top of those before it."""

    def __init__(self, state: State, now_ms: int) -> None:
        self._limits = state.limits
        self._now_ms = now_ms
        self._meters: dict[LimitKey, tuple[int, int]] = {}

    def check(self, job: Job, report: LimitReport | None) -> None:
        """Raise where the report names a limit that the job is not under: then nothing of its call's item happens."""
        if report is None:
            return
        names = {use.limit for use in job.spec.limits}
        for field, said in (("usage", report.usage), ("limit_backoff", report.backoff)):
            for name, _ in said:
                if name not in names:
                    raise InvalidRequest.field(field, f"the job is not under the limit {name!r}")

    def add(self, job: Job, report: LimitReport | None, *, released: bool = False) -> None:
        """The attempt ended. One that was given back did not use what its start took, unless it says otherwise."""
        usage = dict(report.usage) if report is not None else {}
        backoff = dict(report.backoff) if report is not None else {}
        for use in job.spec.limits:
            key = self._limits.known(use.limit, use.key)
            if key is None or key.family.limit is None:
                continue
            used = usage.get(use.limit)
            if used is None and released and use.limit not in backoff:
                used = 0
            before = self._meters.get(key, (key.arrival_ns, key.held_until))
            arrival_ns = before[0] if used is None else self._corrected(key, use, used, before[0])
            held_until = max(before[1], self._now_ms + backoff[use.limit]) if use.limit in backoff else before[1]
            if (arrival_ns, held_until) != before:
                self._meters[key] = arrival_ns, held_until

    def records(self) -> list[AnyRecord]:
        """What changed."""
        meters = [Meter(key.name, key.key, *meter) for key, meter in self._meters.items()]
        return [Metered(meters)] if meters else []

    def _corrected(self, key: LimitKey, use: LimitUse, used: int, arrival_ns: int) -> int:
        """The theoretical arrival time as if the start had cost what was used; never before now, and no further ahead
        than the limit allows, or a burst is long."""
        rate, limit = key.rate, key.family.limit
        assert limit is not None
        if rate is None:
            return arrival_ns
        now_ns = self._now_ms * NS_PER_MS
        more = used - min(use.cost, rate.burst)
        base = max(arrival_ns, now_ns) if more > 0 else arrival_ns
        debt_ns = max(limit.max_debt_ms * NS_PER_MS, rate.burst * rate.interval_ns)
        corrected = min(base + more * rate.interval_ns, max(arrival_ns, now_ns + debt_ns))
        return corrected if corrected > now_ns else 0
