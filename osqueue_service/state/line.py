"""One line of waiting jobs: those that nothing tells apart but their place; and what stands in order of several."""

from itertools import islice
from typing import TypeAlias

from osqueue_service.state.fairness import Share
from osqueue_service.state.gates import Gate
from osqueue_service.state.index import Index
from osqueue_service.state.limit_table import LimitKey
from osqueue_service.state.model import UNCLAIMED, Job
from osqueue_service.state.order import Order

Key = tuple[int, str, tuple[tuple[str, str], ...]]
"""What tells the lines of one type apart: the level of the priority (`fairness.py`), fairness key, limit keys."""

AGE_SCAN_MAX = 100
"""Jobs at the front of a line that are asked since when they wait."""


class Line(Index):
    """The waiting jobs of one line, in the order of their places."""

    __slots__ = ("gate", "head", "key", "kind", "share")

    def __init__(self, kind: "Kind", key: Key, gate: Gate | None) -> None:
        super().__init__()
        self.kind = kind
        self.key = key
        self.gate = gate
        """What shuts it; None while it is ready."""
        self.head: LineHead | None = None
        self.share: Share | None = None
        """The turns that its fairness key has had; None where no key is in use at its priority."""

    @property
    def type(self) -> str:
        return self.kind.name

    @property
    def rank(self) -> int:
        """What its jobs are ordered by before their places: the priority, and the turns of its fairness key."""
        return self.key[0] + self.share.turns if self.share is not None else self.key[0]

    @property
    def ready_since(self) -> int:
        """Since when the job of it waits that has waited longest (ms).

        A job that came back from a worker stands at its old place but waits anew, so the first in line need not be
        the one. All others took their place when they began to wait: behind the first of those nobody has waited
        longer. Of more than `AGE_SCAN_MAX` that came back, what these say is the answer: the true age is at least that.
        """
        since = 0
        for job in islice(self, AGE_SCAN_MAX):
            if not since or job.ready_since < since:
                since = job.ready_since
            if not job.history or job.history[-1].became is not UNCLAIMED:
                break
        return since


class BoundLine(Line):
    """A line under limits. Its keys are in the order in which its jobs name them."""

    __slots__ = ("bundle", "filed", "keys", "parked", "promise")

    def __init__(self, kind: "Kind", key: Key, gate: Gate | None, keys: tuple[LimitKey, ...], bundle: "Bundle") -> None:
        super().__init__(kind, key, gate)
        self.keys = keys
        self.bundle = bundle
        self.filed: Filed | None = None
        """What stands for it among those that wait for the key where it is parked."""
        self.parked: LimitKey | None = None
        """The key whose room it waits for."""
        self.promise: tuple[LimitKey, int] | None = None
        """The key that woke it, and for how much."""

    @property
    def first_job(self) -> Job:
        """The job that would be claimed first."""
        assert self.first is not None
        return self.first.job

    @property
    def rank(self) -> int:
        share = self.bundle.share
        return self.key[0] + share.turns if share is not None else self.key[0]

    @property
    def order(self) -> tuple[int, int]:
        """Where its first job stands among those of its type."""
        assert self.first is not None
        return self.rank, self.first.key

    def cost_at(self, key: LimitKey) -> int:
        """What its first job takes of one of its keys."""
        return next(use.cost for mine, use in zip(self.keys, self.first_job.spec.limits, strict=True) if mine is key)


class Bundle:
    """The lines under limits of one type, priority and fairness key. It stands among the heads of the type as one, at
    the first place of its ready lines: the turns of a key change where it stands, however many lines it has."""

    __slots__ = ("count", "head", "heads", "key", "kind", "share")

    def __init__(self, kind: "Kind", key: Key) -> None:
        self.kind = kind
        self.key = key
        self.share: Share | None = None
        self.heads: Order[LineHead] = []
        """Of its ready lines, in order."""
        self.head: Head | None = None
        self.count = 0
        """How many jobs wait in its lines, parked ones included."""

    @property
    def rank(self) -> int:
        """As that of a line."""
        return self.key[0] + self.share.turns if self.share is not None else self.key[0]


Unit: TypeAlias = Line | Bundle
"""What stands in order among the heads of a type: a line under no limits, or those that are."""

Head = tuple[int, int, Unit]
# (rank, place, unit): ascending order is the order of claims. No two places are the same, so that the units
# themselves are never compared. The rank may be an earlier one, and so too low: turns only rise.
LineHead = tuple[int, int, Line]
Filed = tuple[int, int, BoundLine]


class Kind:
    """The lines of one type. `heads` are those of its ready lines in order, `ready` is how many jobs wait in these,
    `parked` how many in parked ones, `bound` how many lines are under limits."""

    __slots__ = ("bound", "bundles", "heads", "lines", "name", "parked", "ready")

    def __init__(self, name: str) -> None:
        self.name = name
        self.bundles: dict[tuple[int, str], Bundle] = {}
        self.lines: dict[Key, Line] = {}
        self.heads: Order[Head] = []
        self.ready = 0
        self.bound = 0
        self.parked = 0
