"""What jobs and attempts say of limits."""

from typing import NamedTuple


class Limit(NamedTuple):
    """A limit that a job is under: it starts only while the limit's key has room for its cost. "" is the key of limits
    that have none."""

    limit: str
    key: str = ""
    cost: int = 1


class LimitUsage(NamedTuple):
    """How much of a limit's rate an attempt really used, instead of the job's cost."""

    limit: str
    used: int


class LimitBackoff(NamedTuple):
    """Nothing of the job's key of a limit shall start for `ms`."""

    limit: str
    ms: int
