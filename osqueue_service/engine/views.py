"""What callers see of the queue: reads, waits for a job to finish, watches, and the figures.

Nothing here changes the queue. An answer is given once every change that it may have seen is
durable, and only while this leader may still answer.
"""

from collections.abc import Callable
from typing import TypeVar

from osqueue_service.clock import Clock
from osqueue_service.engine.authority import Authority
from osqueue_service.engine.events import JobEvent, Subscription
from osqueue_service.engine.figures import Figures
from osqueue_service.engine.followers import Followers
from osqueue_service.engine.leases import LiveLease
from osqueue_service.engine.pipeline import Pipeline
from osqueue_service.engine.queue_figures import QueueFigures
from osqueue_service.engine.term import Term
from osqueue_service.engine.timing import QueueTime
from osqueue_service.engine.totals import Breakdown, Statistics, Totals, breakdown_of
from osqueue_service.engine.workers import WorkerTable
from osqueue_service.limits import Limits
from osqueue_service.state.model import Job
from osqueue_service.state.state import State

T = TypeVar("T")


class Views:
    """One leader's queue, to look at. Every coroutine may be cancelled at any time."""

    def __init__(
        self,
        term: Term,
        state: State,
        followers: Followers,
        statistics: Statistics,
        pipeline: Pipeline,
        authority: Authority,
        *,
        callers_clock: Clock,
        time: QueueTime,
        limits: Limits,
    ) -> None:
        self.workers: WorkerTable = followers.workers
        """What this leader heard of each worker."""
        self.figures: Figures = followers.figures
        """The recent past, second by second."""
        self._term = term
        self._state = state
        self._leases = followers.leases
        self._finishing = followers.finishing
        self._hub = followers.hub
        self._outcomes = followers.outcomes
        self._statistics = statistics
        self._pipeline = pipeline
        self._authority = authority
        self._callers_clock = callers_clock
        self._time = time
        self._limits = limits

    async def read(self, view: Callable[[State], T], *, linearizable: bool = False) -> T:
        """What `view` makes of the state, once every change that it may have seen is durable.

        `view` runs at once and must not keep references to what it looked at. With `linearizable` the
        broker proves, after the call arrived, that it still leads.
        """
        self._authority.check_live()
        seen = view(self._state)
        await self._authority.settled()
        if linearizable:
            # A root read that begins only now still proves it: who leads at its beginning led when the view was taken.
            await self._term.confirm()
        return seen

    def number_of(self, public_id: str) -> int | None:
        """The number behind the id of a job, workflow or batch, kept or not; None if it is not an id of this queue."""
        return self._state.ids.number_of(public_id)

    async def wait_finished(self, job_id: str, wait_ms: int, view: Callable[[State, Job | None], T]) -> T:
        """`view` of the job once it is finished, or after `wait_ms`, whichever is first. One that has finished is seen
        though it has just been let go."""
        self._authority.check_live()
        job, ended = self._state.find(job_id), None
        if job is not None and not job.status.finished and wait_ms > 0:
            finished = self._finishing.add(job.number)
            self._authority.somebody_waits()
            timer = self._callers_clock.call_later_ms(min(wait_ms, self._limits.wait_ms_max), finished.time_is_up)
            try:
                await finished.future
            finally:
                timer.cancel()
                self._finishing.remove(finished)
            ended = finished.job if finished.job is not None and finished.job.status.finished else None
        return await self.read(
            lambda state: view(state, state.find(job_id) or ended or self._outcomes.find(job_id, self._time.now_ms()))
        )

    def watch(self, wanted: Callable[[JobEvent], bool]) -> Subscription:
        """Events from the next commit on, each told once it is durable. End it with `unwatch`."""
        self._authority.check_live()
        return self._hub.subscribe(wanted, self._term.appender.next_sequence - 1)

    def unwatch(self, subscription: Subscription) -> None:
        self._hub.unsubscribe(subscription)

    @property
    def totals(self) -> Totals:
        """The figures as of the last durable commit."""
        return self._statistics.totals

    def breakdown(self) -> Breakdown:
        """The figures by type and by fairness key: of the last durable commit when none is under way, else of a recent
        one."""
        return self._statistics.breakdown if len(self._pipeline) else breakdown_of(self._state)

    def metrics(self) -> QueueFigures:
        """What metrics show by type and by limit, as it is now, durable or not."""
        return QueueFigures(self._state, self.figures.tallies, self._time.now_ms(), self._limits)

    def lease_of(self, number: int) -> LiveLease | None:
        """The lease of a running job as heartbeats left it."""
        return self._leases.get(number)

    def leases_of(self, worker_id: str) -> list[str]:
        """The ids of the jobs that the worker holds."""
        worker = self.workers.get(worker_id)
        jobs = self._state.jobs
        return [self._state.job_id(jobs[number]) for number in worker.numbers if number in jobs] if worker else []

    @property
    def waiting_reads(self) -> int:
        """How many callers wait for a job to finish."""
        return self._finishing.count
