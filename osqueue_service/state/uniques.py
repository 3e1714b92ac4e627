"""Who holds which unique key.

All of it follows from the jobs, but for keys that outlive a short job (`ttl_ms`). A key has one holder, and at most
one *successor*: a blocked job that takes the key over when its holder has ended. Of two live jobs with
one key the older is the holder, so that no order of loading matters.
"""

from collections.abc import Iterator
from itertools import islice

from msgspec import Struct
from sortedcontainers import SortedList

from osqueue_service.state.model import DEAD, Job
from osqueue_service.state.unique import Until


class KeptKey(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A key that its job has let go of, and that nobody else may have until `expires_at`."""

    number: int
    expires_at: int


def name_of(job: Job) -> str:
    """The name under which a job with a unique key holds it."""
    unique = job.spec.unique
    assert unique is not None
    return unique.held_as(job.spec.type)


def holds(job: Job) -> bool:
    """Whether a job that asks for a key has it as it stands now, or follows the one that has."""
    unique = job.spec.unique
    if unique is None:
        return False
    if job.status.finished:
        return unique.until is Until.SUCCEEDED and job.status is DEAD
    return unique.until is not Until.STARTED or not job.claims


class Uniques:
    """The keys that are held, and those that are kept for a while."""

    def __init__(self) -> None:
        self.holders: dict[str, Job] = {}
        self.successors: dict[str, Job] = {}
        self.kept: dict[str, KeptKey] = {}
        self._expiries: SortedList[tuple[int, str]] = SortedList()

    def __len__(self) -> int:
        """How many keys nobody else can have, or could not when they were last looked at."""
        return len(self.holders) + len(self.kept)

    def enter(self, job: Job) -> None:
        """The job stands in another status now: it holds its key, follows its holder, or has nothing to do with it."""
        if not holds(job):
            return
        name = name_of(job)
        other = self.holders.get(name)
        if other is not None:
            assert name not in self.successors, "three jobs have one unique key"
            if other.number < job.number:
                self.successors[name] = job
                return
            self.successors[name] = other
        self.holders[name] = job

    def leave(self, job: Job) -> Job | None:
        """The job leaves its status. Returns the successor that has the key now, if it is let go of for good."""
        name = name_of(job)
        if self.successors.get(name) is job:
            del self.successors[name]
        elif self.holders.get(name) is job:
            successor = self.successors.pop(name, None)
            if successor is not None:
                self.holders[name] = successor
                return successor
            del self.holders[name]
        return None

    def ahead_of(self, job: Job) -> Job | None:
        """The holder that this job follows."""
        if job.spec.unique is None:
            return None
        name = name_of(job)
        return self.holders.get(name) if self.successors.get(name) is job else None

    def keeper(self, name: str, now_ms: int) -> KeptKey | None:
        """What keeps a key that no job holds."""
        kept = self.kept.get(name)
        return kept if kept is not None and kept.expires_at > now_ms else None

    def keep(self, name: str, kept: KeptKey) -> None:
        """Nobody else may have this key for a while."""
        self.forget(name)
        self.kept[name] = kept
        self._expiries.add((kept.expires_at, name))

    def forget(self, name: str) -> None:
        """Whoever asks may have the key, if no job holds it."""
        kept = self.kept.pop(name, None)
        if kept is not None:
            self._expiries.remove((kept.expires_at, name))

    def next_expiry_ms(self) -> int | None:
        """When the first key that is kept is free."""
        return self._expiries[0][0] if self._expiries else None

    def expired(self, now_ms: int, limit: int) -> list[str]:
        """Keys that are kept no longer, at most `limit`."""
        return [name for expires_at, name in islice(self._expiries, limit) if expires_at <= now_ms]

    def keys_kept(self) -> list[tuple[str, KeptKey]]:
        """A copy of the keys that are kept, those that are free first in front."""
        return [(name, self.kept[name]) for _, name in self._expiries]

    def named(self, key: str, types: Iterator[str]) -> list[Job]:
        """The jobs that hold this key, or follow one that does, oldest first; of those types where it is a type's."""
        names = [f"\n\n{key}", *(f"{name}\n{key}" for name in types)]
        found = [job for name in names for table in (self.holders, self.successors) if (job := table.get(name))]
        return sorted(found, key=lambda job: job.number)
