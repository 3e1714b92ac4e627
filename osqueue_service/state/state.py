"""The whole queue as it stands after some commit, with every index that its operations need.

Only `apply` changes a State. Everything here is either stored in a checkpoint or derived
from what is, with the exceptions named `volatile`.
"""

from collections.abc import Callable

from osqueue_service.errors import JobNotFound
from osqueue_service.state.audit import Audit
from osqueue_service.state.batches import Batches
from osqueue_service.state.fairness import Fairness
from osqueue_service.state.graphs import Graphs
from osqueue_service.state.index import Deadlines, Index
from osqueue_service.state.job_ids import JobIds
from osqueue_service.state.lines import Lines
from osqueue_service.state.memory import Memory
from osqueue_service.state.model import LIVE, Counters, FollowedEntry, Job, KeyEntry, RequestEntry, SettledEntry, Status
from osqueue_service.state.moves import Moves
from osqueue_service.state.schedules import Schedules
from osqueue_service.state.sequences import Sequences
from osqueue_service.state.uniques import Uniques


class State:
    """A queue. `next_number` numbers jobs and places alike, so every number is used
    once; `stamp_ms` is the time of the last change."""

    def __init__(self, queue: str = "") -> None:
        self.ids = JobIds(queue=queue)
        self.next_number = 1
        self.stamp_ms = 0
        self.counters = Counters()

        self.jobs: dict[int, Job] = {}
        self.aliases: dict[str, int] = {}
        self.rosters = tuple(Index() for _ in Status)
        self.type_counts: dict[str, list[int]] = {}
        """Jobs kept, by type and then by `Status`."""
        self.lines = Lines()
        """Waiting jobs, in the order of claims; with what shuts some of them."""
        self.limits = self.lines.limits
        """Named limits, and how much of each is used."""
        self.dead_groups: dict[tuple[str, str], Index] = {}
        """Dead letters by type and error type of their last attempt."""
        self.claims: dict[tuple[str, str], list[int]] = {}
        self.uniques = Uniques()
        self.sequences = Sequences()

        self.scheduled = Deadlines()
        self.timeouts = Deadlines()
        self.retention = Deadlines()
        self.dead_retention = Deadlines()
        self.promised_retention = Deadlines()

        self.keys: Memory[KeyEntry] = Memory()
        self.requests: Memory[RequestEntry] = Memory()
        self.settled: Memory[SettledEntry] = Memory()
        self.followed: Memory[FollowedEntry] = Memory()  # those of the settled tokens that had follow-ups

        self.schedules = Schedules()
        self.graphs = Graphs()
        self.batches = Batches()
        self.audit = Audit()

        self.live_bytes = 0
        self.history_bytes = 0
        """Of the errors of live jobs' attempts."""
        self.finished_bytes = self.dead_bytes = 0
        self.held_dead = 0
        """Dead jobs that are not let go before they are retried or purged, because others wait for them."""
        self.held_dead_bytes = 0
        self.promised_bytes = self.promised_jobs = 0
        self.reserved_jobs = 0
        """Live jobs that will be followed by one if they die: it has its place in the queue already."""

        # Empty between two commits: jobs that died in this one, and have yet to be followed by what they asked for.
        self.died: list[int] = []
        # Blocked jobs whose gate has opened in the record that is being applied; empty after each.
        self.opened: list[Job] = []
        # volatile: lease tokens that a caller has shown, so that they are required from then on.
        self.shown_tokens: set[str] = set()
        # volatile: since when an attempt's timeout_ms counts, where its worker said that it began after its claim.
        self.begun: dict[int, int] = {}
        # volatile: told of a job just before it changes, while a checkpoint is being written.
        self.before_change: Callable[[Job], None] | None = None
        # volatile: what has moved since a follower last took it; None while nobody follows, as in a replay.
        self.moves: list[Moves] | None = None

    @property
    def salt(self) -> str:
        """What the ids of this queue are made with; "" before it is founded."""
        return self.ids.salt

    def take_apart(self) -> None:
        """Let every job go; nobody may use this state any more.

        Jobs and the nodes of indexes point at each other, and are invisible to the garbage collector: a state that is
        merely dropped would keep them for ever.
        """
        for job in self.jobs.values():
            for node in (job.roster_node, job.ready_node):
                if node is not None:
                    node.before = node.after = None
            job.roster_node = job.ready_node = None
        self.jobs.clear()

    def job_id(self, job: Job) -> str:
        """The public id: made from the number, or the one that an adopted job came with."""
        more = job.spec.more
        return self.ids.of(job.number) if more is None or not more.id else more.id

    def id_of_number(self, number: int) -> str:
        """The public id of a job that was submitted here, kept or not."""
        return self.ids.of(number)

    def find(self, job_id: str) -> Job | None:
        """The job with this public id, if it is kept."""
        number = self.aliases.get(job_id) if self.aliases else None
        if number is None and (number := self.ids.number_of(job_id)) is None:
            return None
        job = self.jobs.get(number)
        if job is None or (more := job.spec.more) is None:
            return job
        return job if more.id in ("", job_id) else None

    def get(self, job_id: str) -> Job:
        """The job with this public id. JOB_NOT_FOUND says what that can mean."""
        job = self.find(job_id)
        if job is None:
            raise JobNotFound(
                f"no job has the id {job_id!r}: it never existed here, or it finished and is no longer kept"
            )
        return job

    def roster(self, status: Status) -> Index:
        """The jobs in one status, in the order of submission."""
        return self.rosters[status]

    def count(self, status: Status) -> int:
        return self.rosters[status].count

    @property
    def fairness(self) -> Fairness:
        """Fairness keys: whose turn it is, and what weighs how much."""
        return self.lines.fairness

    @property
    def live(self) -> int:
        """Jobs that have not come to their end."""
        rosters = self.rosters
        return sum([rosters[status].count for status in LIVE])
