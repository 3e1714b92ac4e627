"""Sequences: jobs that run strictly one after the other.

The *head* of a sequence is the one job of it that is not blocked by it; it stands in a line, waits for its time, runs,
or, where it holds its sequence when dead, is a dead letter. All others are blocked, in the order in which they
joined. All of it follows from the jobs: those that are blocked know their `turn`.
"""

from osqueue_service.state.index import Index
from osqueue_service.state.model import BLOCKED, DEAD, Job
from osqueue_service.state.unique import AfterDead


class Sequence:
    """One sequence that has jobs."""

    __slots__ = ("head", "waiting")

    def __init__(self) -> None:
        self.head: Job | None = None
        self.waiting = Index()


def holds_when_dead(job: Job) -> bool:
    """Whether the sequence stops at this job while it is a dead letter."""
    sequence = job.spec.sequence
    return sequence is not None and sequence.after_dead is AfterDead.HOLD


def belongs(job: Job) -> bool:
    """Whether a job that asks for a sequence is in it as it stands now."""
    if job.status is BLOCKED:
        return job.more is not None and job.more.turn > 0
    return not job.status.finished or (job.status is DEAD and holds_when_dead(job))


class Sequences:
    """All sequences that have jobs, by key."""

    def __init__(self) -> None:
        self.by_key: dict[str, Sequence] = {}

    def enter(self, job: Job) -> None:
        """The job stands in another status now."""
        if not belongs(job):
            return
        key = _key(job)
        sequence = self.by_key.get(key)
        if sequence is None:
            sequence = self.by_key[key] = Sequence()
        if job.status is BLOCKED:
            assert job.more is not None
            job.ready_node = sequence.waiting.add(job.more.turn, job)
        else:
            assert sequence.head is None, "a sequence has two heads"
            sequence.head = job

    def leave(self, job: Job) -> Job | None:
        """The job leaves its status. Returns the job whose turn it is now, unless this one comes back."""
        if not belongs(job):
            return None
        key = _key(job)
        sequence = self.by_key[key]
        following = None
        if job.status is BLOCKED:
            assert job.ready_node is not None
            sequence.waiting.remove(job.ready_node)
            job.ready_node = None
        else:
            sequence.head = None
            following = sequence.waiting.first.job if sequence.waiting.first else None
        if sequence.head is None and not sequence.waiting:
            del self.by_key[key]
        return following

    def ahead_of(self, job: Job) -> Job | None:
        """The job behind which this blocked one waits: the one that joined before it, or the head; None if it is its
        turn."""
        sequence = self.by_key.get(_key(job))
        if sequence is None:
            return None
        if not belongs(job):
            return sequence.waiting.last.job if sequence.waiting.last else sequence.head
        node = job.ready_node
        assert node is not None
        return node.before.job if node.before is not None else sequence.head

    def count_ahead(self, job: Job, most: int) -> int:
        """How many jobs of its sequence come before this blocked one, counted up to `most`."""
        sequence = self.by_key.get(_key(job))
        if sequence is None:
            return 0
        count = int(sequence.head is not None)
        if not belongs(job):
            return min(most, count + sequence.waiting.count)
        node = job.ready_node.before if job.ready_node is not None else None
        while node is not None and count < most:
            count += 1
            node = node.before
        return count

    def jobs(self, key: str) -> list[Job]:
        """The jobs of a sequence, oldest first."""
        sequence = self.by_key.get(key)
        if sequence is None:
            return []
        head = [sequence.head] if sequence.head is not None else []
        return sorted([*head, *sequence.waiting], key=lambda job: job.number)


def _key(job: Job) -> str:
    sequence = job.spec.sequence
    assert sequence is not None
    return sequence.key
