"""What follows in a workflow when one of its jobs ends, lives again or goes: for those that need it, and for how long
all of them are kept."""

from osqueue_service.state.graphs import Graph
from osqueue_service.state.model import Job
from osqueue_service.state.placement import refile
from osqueue_service.state.state import State


def job_moved(state: State, job: Job) -> None:
    """A job of a workflow has ended, is live again, or is gone: what that means to those that need it, and to how long
    all of them are kept."""
    graphs = state.graphs
    graphs.reconsider(state.jobs, graphs.dependents.get(job.number, ()))
    graph = graphs.of(job)
    if graph is None:
        return
    if graph.live:
        unsettle(state, graph)
    else:
        _settle(state, graph)


def purged(state: State, job: Job) -> None:
    """A job is about to be removed by hand: those that need it will not find it."""
    graph = state.graphs.of(job)
    if graph is not None:
        graph.change(purged=(*graph.workflow.purged, job.number))


def _settle(state: State, graph: Graph) -> None:
    """The last job has ended: all of them are kept until the last of them would go, so that a retry finds them."""
    if graph.workflow.settled_at:
        return
    jobs = [state.jobs[each] for each in graph.nodes.values()]
    keep_until = max(job.keep_until for job in jobs)

    def settle() -> None:
        graph.change(settled_at=state.stamp_ms)
        for job in jobs:
            job.keep_until = keep_until

    refile(state, jobs, settle)


def unsettle(state: State, graph: Graph) -> None:
    """A job is live again: the others are kept until it has ended."""
    if not graph.workflow.settled_at:
        return
    jobs = [job for each in graph.nodes.values() if (job := state.jobs[each]).status.finished]
    refile(state, jobs, lambda: graph.change(settled_at=0))
