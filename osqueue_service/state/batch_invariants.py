"""What must hold of the batches in every state."""

from collections import Counter

from osqueue_service.state.model import CANCELLED, COMPLETED, DEAD
from osqueue_service.state.state import State


class InvariantBroken(AssertionError):
    """The state contradicts itself."""


def check_batches(state: State) -> None:
    """Raise `InvariantBroken` naming the first rule that does not hold."""
    for number, batch in state.batches.by_number.items():
        jobs = [job for each in state.batches.members(number) if (job := state.jobs.get(each)) is not None]
        kept = Counter(job.status for job in jobs)
        children = [state.batches.by_number[each] for each in state.batches.children.get(number, ())]
        live = sum(not job.status.finished for job in jobs) + sum(not child.outcome for child in children)
        _check(batch.live == live, f"batch {number}: {batch.live} are live, its members say {live}")
        for status, counted in ((COMPLETED, batch.completed), (DEAD, batch.dead), (CANCELLED, batch.cancelled)):
            _check(kept[status] <= counted, f"batch {number} counts too few that are {status.wire}")
        ended = bool(batch.sealed_at) and not batch.live
        _check(not ended or bool(batch.finished_at and batch.outcome), f"batch {number} has ended, and does not say so")
        _check(not batch.finished_at or bool(batch.sealed_at), f"batch {number} has ended, and is open")
        _check(not batch.cancelled_at or bool(batch.sealed_at), f"batch {number} is cancelled, and open")
        _check(batch.died or not batch.dead, f"batch {number} has dead members, and none ever died")
        _check(
            (number in state.batches.due) == bool(batch.calls()), f"batch {number}: what is due and its counts differ"
        )
    members = {job.number for job in state.jobs.values() if state.batches.of(job) is not None}
    listed = {each for number in state.batches.by_number for each in state.batches.members(number)}
    _check(members == listed.intersection(state.jobs), "members and their batches differ")


def _check(holds: bool, problem: str) -> None:
    if not holds:
        raise InvariantBroken(problem)
