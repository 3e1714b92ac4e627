"""Planted bugs of follow-ups, workflows and batches: a step that is lost, done twice, or done too early.

Planted as those in `bugs`, which this adds to.
"""

from typing import Any

from msgspec.structs import replace

from osqueue_service.state import apply, batch_changes, batching, graph_ends, machine, settling, workflows
from osqueue_service.state.batch_records import CalledBack
from osqueue_service.state.batches import Batch, Batches
from osqueue_service.state.graphs import Fate, Graphs
from osqueue_service.state.model import Status
from tests.simulation.bugs import BUGS, Plant, bug, planted

__all__ = ["BUGS", "Plant", "bug", "planted"]


@bug("a node runs when the first of its needs has ended")
def _too_early(patch: Any) -> None:
    by_needs = Graphs._by_needs

    def hasty(self: Graphs, jobs: Any, job: Any) -> int:
        fate = by_needs(self, jobs, job)
        needs = job.spec.more.member.needs
        ended = any(need.number in jobs and jobs[need.number].status is Status.COMPLETED for need in needs)
        return Fate.RUNS if fate == Fate.WAITS and ended else fate

    patch(Graphs, "_by_needs", hasty)


@bug("a node that nobody lets run")
def _never_let_run(patch: Any) -> None:
    """What the end of a job means to those that need it is forgotten, now and then."""
    moved = graph_ends.job_moved

    def deaf(state: Any, job: Any) -> None:
        reconsider = state.graphs.reconsider
        if job.number % 5 == 0:
            state.graphs.reconsider = lambda jobs, numbers: None
        moved(state, job)
        state.graphs.reconsider = reconsider

    patch(graph_ends, "job_moved", deaf)


@bug("a child that a retry does not revive")
def _not_revived(patch: Any) -> None:
    fate_of = Graphs.fate_of

    def lost(self: Graphs, jobs: Any, job: Any) -> int | None:
        fate = fate_of(self, jobs, job)
        return None if fate == Fate.REVIVES else fate

    patch(Graphs, "fate_of", lost)


@bug("a need's policy is ignored")
def _policy_ignored(patch: Any) -> None:
    """Whatever came of a job, what needs it runs."""
    decide = workflows.decide_dependents

    def all_run(state: Any, limits: Any, most: int) -> Any:
        for number, fate in state.graphs.fates.items():
            if fate > 0:
                state.graphs.fates[number] = Fate.RUNS
        return decide(state, limits, most)

    patch(workflows, "decide_dependents", all_run)


@bug("callbacks that nobody submits")
def _never_called(patch: Any) -> None:
    patch(batching, "decide_effects", lambda state, limits, most: [])


@bug("a callback submitted twice")
def _called_twice(patch: Any) -> None:
    """Now and then it is not noted that a batch has submitted what it does at its end."""
    called_back = batch_changes.called_back

    def forgetful(state: Any, record: Any, at_ms: int) -> None:
        specs = {item.batch: state.batches.by_number[item.batch].spec for item in record.items}
        called_back(state, record, at_ms)
        for number in specs if record.first % 3 == 0 else ():
            batch = state.batches.by_number[number]
            if batch.finished_job >= record.first:
                batch_changes._reserve(state, batch, -1)
                batch.finished_job, batch.spec = 0, replace(batch.spec, on_finished=specs[number].on_finished)
                batch_changes._reserve(state, batch, 1)
                state.batches.reconsider(batch)

    patch(batch_changes, "called_back", forgetful)
    patch(apply, "_APPLY", {**apply._APPLY, CalledBack: forgetful})


@bug("a batch that ends when one member is left")
def _ends_early(patch: Any) -> None:
    patch(Batch, "live", property(lambda self: max(0, _live(self) - 1)))


def _live(batch: Batch) -> int:
    return batch.total - batch.completed - batch.dead - batch.cancelled - batch.purged


@bug("a success with dead members")
def _false_success(patch: Any) -> None:
    patch(Batch, "succeeded", property(lambda self: bool(self.sealed_at) and not self.cancelled_at))


@bug("a cancelled batch whose members run on")
def _not_swept(patch: Any) -> None:
    members = Batches.members

    def some(self: Batches, number: int, after: int = 0) -> Any:
        found = list(members(self, number, after))
        return iter(found if number not in self.cancelling else found[1:])

    patch(Batches, "members", some)


@bug("a repeated completion forgets what followed")
def _forgets_what_followed(patch: Any) -> None:
    patch(settling, "followed_before", lambda *said: None)


@bug("a death that submits nothing")
def _silent_death(patch: Any) -> None:
    def forget(state: Any) -> Any:
        state.died.clear()
        return []

    patch(machine, "decide_on_dead", forget)
