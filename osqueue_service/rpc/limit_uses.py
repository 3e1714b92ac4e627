"""The limits that a job names, and how keys are checked."""

from collections.abc import Iterable
from typing import TypeAlias

from osqueue_service.limits import Limits
from osqueue_service.rpc.fields import Violations, check_number, check_printable, check_text, shown
from osqueue_service.state.commands import LimitReport
from osqueue_service.state.model import LimitUse
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2

_Settled: TypeAlias = queue_pb2.CompleteJobRequest | queue_pb2.FailJobRequest | queue_pb2.ReleaseJobRequest


def read_uses(said: Iterable[job_pb2.Limit], limits: Limits, wrong: Violations) -> tuple[LimitUse, ...]:
    """What a job says of its limits. Whether there are such is for the state to know."""
    uses: list[LimitUse] = []
    for position, one in enumerate(said):
        where = f"limits[{position}]"
        if not one.limit:
            wrong.add(f"{where}.limit", "is required")
        elif any(use.limit == one.limit for use in uses):
            wrong.add(f"{where}.limit", f"{shown(one.limit)} is there twice; a job is under a limit once, with one key")
        check_key(one.key, f"{where}.key", limits, wrong)
        if not 0 <= one.cost <= limits.limit_cost_max:
            wrong.add(
                f"{where}.cost",
                f"is {one.cost}; it must be from 1 to {limits.limit_cost_max:,} (limit_cost_max), or 0 for 1",
            )
        uses.append(LimitUse(one.limit, one.key, one.cost or 1))
    if len(uses) > limits.job_limits:
        wrong.add("limits", f"has {len(uses)} elements; at most {limits.job_limits} are allowed (job_limits)")
    return tuple(uses)


def check_fairness_key(key: str, field: str, limits: Limits, wrong: Violations) -> None:
    """Whose turn it is."""
    check_text(key, field, limits.fairness_key_bytes, "fairness_key_bytes", wrong)
    check_printable(key, field, wrong)


def read_report(request: _Settled, limits: Limits, wrong: Violations) -> LimitReport:
    """What a worker says of its job's limits. Whether the job is under them is for the state to know."""
    usage: dict[str, int] = {}
    for position, used in enumerate(request.usage):
        where = f"usage[{position}]"
        _check_named(used.limit, where, usage, wrong)
        check_number(used.used, f"{where}.used", 0, limits.limit_cost_max, wrong)
        usage[used.limit] = used.used
    backoff: dict[str, int] = {}
    for position, held in enumerate(request.limit_backoff):
        where = f"limit_backoff[{position}]"
        _check_named(held.limit, where, backoff, wrong)
        check_number(held.ms, f"{where}.ms", 1, limits.limit_debt_ms_max, wrong, " ms")
        backoff[held.limit] = held.ms
    return LimitReport(tuple(usage.items()), tuple(backoff.items()))


def _check_named(name: str, where: str, before: dict[str, int], wrong: Violations) -> None:
    if not name:
        wrong.add(f"{where}.limit", "is required")
    elif name in before:
        wrong.add(f"{where}.limit", f"{shown(name)} is there twice")


def check_key(key: str, field: str, limits: Limits, wrong: Violations) -> None:
    """A limit's key."""
    check_text(key, field, limits.limit_key_bytes, "limit_key_bytes", wrong)
    check_printable(key, field, wrong)
