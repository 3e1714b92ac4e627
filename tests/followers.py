"""What a leader keeps beside its state, compared with the state: each follower has heard of every move."""

from collections.abc import Iterator

from osqueue_service.engine.engine import Engine
from osqueue_service.state.model import Status


def behind(engine: Engine) -> Iterator[str]:
    """Where a follower differs from what the state says. To be asked when a commit has just been released."""
    state, followers = engine._state, engine._followers
    running = {job.number: job for job in state.roster(Status.IN_PROGRESS)}
    leased = {lease.number: lease.token for lease in followers.leases.leases.values()}
    tokens = {number: job.lease.token for number, job in running.items() if job.lease}
    if leased != tokens:
        yield f"the leases of {sorted(leased.keys() ^ tokens.keys()) or leased} differ from the jobs in progress"
    if followers.workers.forgotten == 0:
        held = {number: worker.id for worker in followers.workers for number in worker.numbers}
        holders = {number: job.lease.worker_id for number, job in running.items() if job.lease}
        if held != holders:
            yield f"workers are said to hold {held}, the jobs in progress say {holders}"
    if not len(engine._pipeline):
        for number, waiters in followers.finishing._waiters.items():
            job = state.jobs.get(number)
            ended = job is None or job.status.finished
            if ended and any(not waiter.future.done() for waiter in waiters):
                yield f"callers still wait for job {number}, which has ended"
