"""What workers say of themselves and of the leases they hold, none of which costs a commit."""

from collections.abc import Callable

from osqueue_service.engine.authority import Authority
from osqueue_service.engine.events import progressed
from osqueue_service.engine.followers import Followers
from osqueue_service.engine.leases import LiveLease, Progress
from osqueue_service.engine.timing import QueueTime
from osqueue_service.errors import OsqueueError
from osqueue_service.state.placement import count_from
from osqueue_service.state.settling import holder
from osqueue_service.state.state import State


class Heartbeats:
    """Keeps leases alive, and remembers who was heard of."""

    def __init__(
        self,
        state: State,
        followers: Followers,
        authority: Authority,
        time: QueueTime,
        due_moved: Callable[[], None],
    ) -> None:
        self.workers = followers.workers
        """What this leader heard of each worker: where a worker says what it takes."""
        self._state = state
        self._leases = followers.leases
        self._hub = followers.hub
        self._authority = authority
        self._time = time
        self._due_moved = due_moved

    async def beat(
        self,
        job_id: str,
        worker_id: str,
        token: str,
        progress: tuple[float, str] | None = None,
        running_ms: int | None = None,
    ) -> tuple[LiveLease, bool]:
        """Extend the lease to its full length from now; also answers whether cancellation was requested.

        A refusal, which may rest on a change under way, waits until that is durable.
        """
        self._authority.check_live()
        try:
            return self.renew(job_id, worker_id, token, progress, running_ms)
        except OsqueueError:
            await self._authority.settled()
            raise

    def renew(
        self,
        job_id: str,
        worker_id: str,
        token: str,
        progress: tuple[float, str] | None = None,
        running_ms: int | None = None,
    ) -> tuple[LiveLease, bool]:
        """The heartbeat itself. `running_ms`: for how long the handler has run, if the worker said.

        A refusal must not be told before the engine's `settled()`.
        """
        job = holder(self._state, job_id, worker_id, token)
        now = self._time.read()
        now_ms = now.queue_ms
        said = Progress(*progress, now_ms) if progress is not None else None
        lease = self._leases.renew(job.number, int(now.monotonic), now_ms, said)
        if running_ms is not None and job.spec.timeout_ms:
            count_from(self._state, job, now_ms - running_ms)
            self._due_moved()
        self.workers.holds(lease.worker_id, job, now_ms)
        if said is not None and self._hub.watchers:
            self._hub.publish([progressed(self._state, job, lease, said)])
        return lease, job.cancel_requested
