"""What `client.limits` is asked and answers: plain data, free of any wire format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from osqueue.job import Position
from osqueue.messages import Question
from osqueue.stats import FairnessKeyInfo

AtLimit = Literal["", "wait", "cancel_newest"]
"""What becomes of a new job whose limit has no room for it; "" is "wait"."""


class Rate(NamedTuple):
    """A pace: what starts in any window of length W costs at most burst + W × limit / period_ms; `burst` 0 is
    `limit`."""

    limit: int
    period_ms: int
    burst: int = 0


@dataclass(slots=True)
class LimitSettings:
    """One limit: `max_running` is the cost of the jobs of a key that may run at a time (None: any, 0: none), `rate` the
    pace at which they may start. With `per_key` each key has all of it for itself."""

    name: str
    max_running: int | None = None
    rate: Rate | None = None
    per_key: bool = False
    at_limit: AtLimit = ""
    max_waiting_per_key: int = 0
    types: Mapping[str, str] = field(default_factory=dict)
    max_debt_ms: int = 0


@dataclass(slots=True)
class LimitInfo:
    """A limit and its use: the cost that runs, how many jobs wait, how many keys are in use and without room."""

    limit: LimitSettings
    running: int = 0
    waiting: int = 0
    keys: int = 0
    keys_at_limit: int = 0


@dataclass(slots=True)
class LimitOverride:
    """What differs for one key, until `expires_at` (0: for good). None: as the limit says."""

    max_running: int | None = None
    rate: Rate | None = None
    expires_at: int = 0


@dataclass(slots=True)
class LimitKeyInfo:
    """One key of a limit. `tokens` is the cost that its rate lets start at once, `next_start_at` when the next may."""

    key: str
    running: int = 0
    max_running: int | None = None
    waiting: int = 0
    tokens: int | None = None
    next_start_at: int = 0
    override: LimitOverride | None = None
    at_limit: bool = False


class LimitPut(NamedTuple):
    """The limit is durable; `created` when it is new."""

    created: bool = False
    commit: Position | None = None


@dataclass(slots=True)
class PutLimitRequest(Question[LimitPut]):
    """The limit is to be as this says."""

    limit: LimitSettings


@dataclass(slots=True)
class LimitAnswer:
    """One limit."""

    limit: LimitInfo
    position: Position | None = None


@dataclass(slots=True)
class LimitRequest(Question[LimitAnswer]):
    """Which limit."""

    name: str


@dataclass(slots=True)
class LimitList:
    """All limits, in order of their names."""

    limits: list[LimitInfo]
    position: Position | None = None


@dataclass(slots=True)
class ListLimitsRequest(Question[LimitList]):
    """All of them."""


class LimitDeleted(NamedTuple):
    """Whether there was one, and how many live jobs named it."""

    deleted: bool = False
    detached: int = 0
    commit: Position | None = None


@dataclass(slots=True)
class DeleteLimitRequest(Question[LimitDeleted]):
    """Which limit is to be gone; with `detach`, though live jobs name it."""

    name: str
    detach: bool = False


class LimitChanged(NamedTuple):
    """Where a change of a key is durable."""

    commit: Position | None = None


@dataclass(slots=True)
class SetLimitOverrideRequest(Question[LimitChanged]):
    """What is to differ for a key; None: nothing any more."""

    name: str
    key: str
    override: LimitOverride | None = None


class LimitReset(NamedTuple):
    """Where the reset of a key is durable."""

    commit: Position | None = None


@dataclass(slots=True)
class ResetLimitKeyRequest(Question[LimitReset]):
    """Which key."""

    name: str
    key: str = ""


@dataclass(slots=True)
class LimitKeyPage:
    """A page of keys, in order."""

    keys: list[LimitKeyInfo]
    next_page_token: str = ""
    position: Position | None = None


@dataclass(slots=True)
class ListLimitKeysRequest(Question[LimitKeyPage]):
    """Which keys: all that are in use, or only those without room; page_size 1 to 1,000 (0: 100)."""

    name: str
    at_limit: bool = False
    page_size: int = 0
    page_token: str = ""


class FairnessWeighed(NamedTuple):
    """Where the weight of a fairness key is durable."""

    commit: Position | None = None


@dataclass(slots=True)
class FairnessWeight(Question[FairnessWeighed]):
    """A fairness key is to have this weight."""

    key: str
    weight: float


@dataclass(slots=True)
class FairnessKeyPage:
    """A page of fairness keys, in order."""

    keys: list[FairnessKeyInfo]
    next_page_token: str = ""
    position: Position | None = None


@dataclass(slots=True)
class FairnessKeysRequest(Question[FairnessKeyPage]):
    """Those that have jobs or a weight of their own; page_size 1 to 1,000 (0: 100)."""

    page_size: int = 0
    page_token: str = ""
