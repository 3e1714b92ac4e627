"""What processes asked of a queue, and what they were told: the evidence that checkers judge.

An event is one attempt of one operation on one item. Its outcome is what the caller may rely on:

- `ok`: it happened;
- `refused`: this attempt certainly changed nothing;
- `unknown`: no answer, or one that says so. Both worlds are possible.

Times are milliseconds of one clock for the whole history: the simulation's, or the monotonic
clock of the machine. Attempts of one logical operation share `key`.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

OK = "ok"
REFUSED = "refused"
UNKNOWN = "unknown"

# Reasons that say: nothing was changed by this attempt.
CERTAIN_REFUSALS = frozenset(
    {
        "INVALID_REQUEST",
        "PAYLOAD_TOO_LARGE",
        "JOB_NOT_FOUND",
        "LEASE_LOST",
        "IDEMPOTENCY_CONFLICT",
        "QUEUE_FULL",
        "TOO_MANY_REQUESTS",
        "NOT_LEADER",
        "STORAGE_UNAVAILABLE",
        "UNAUTHENTICATED",
        "PERMISSION_DENIED",
    }
)


def outcome_of(reason: str) -> str:
    """The outcome of an attempt that ended with this reason."""
    return REFUSED if reason in CERTAIN_REFUSALS else UNKNOWN


@dataclass(slots=True)
class Event:
    """One attempt. `answered` is when the broker sent the answer, where that is known; `returned` when it came."""

    process: str
    operation: str
    invoked: float
    key: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    returned: float | None = None
    answered: float | None = None
    outcome: str = UNKNOWN
    reason: str = ""
    job: str = ""
    attempt: int = 0
    token: str = ""
    epoch: int = 0
    sequence: int = 0
    answer: Any = None

    @property
    def position(self) -> tuple[int, int]:
        return self.epoch, self.sequence

    def __str__(self) -> str:
        ended = "…" if self.returned is None else f"{self.returned:.1f}"
        what = " ".join(f"{k}={v}" for k, v in self.arguments.items())
        told = f"{self.outcome} {self.reason}".strip()
        job = f" job={self.job}" if self.job else ""
        attempt = f" attempt={self.attempt} token={self.token}" if self.token else ""
        at = f" at {self.epoch}/{self.sequence}" if self.epoch else ""
        value = "" if self.answer is None else f" = {str(self.answer)[:100]}"
        return (
            f"[{self.invoked:.1f} → {ended}] {self.process} {self.operation} {self.key} {what} → {told}{job}{attempt}"
            f"{at}{value}"
        )


class History:
    """The events in the order of their invocation."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.events = list(events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    def of(self, *operations: str) -> list[Event]:
        """The events of these operations."""
        return [event for event in self.events if event.operation in operations]

    def begin(self, process: str, operation: str, now_ms: float, **fields: Any) -> Event:
        """An attempt begins. Until it is ended its outcome is unknown."""
        event = Event(process, operation, now_ms, **fields)
        self.events.append(event)
        return event

    def dump(self, path: Path) -> None:
        """One JSON object per line."""
        with path.open("w") as file:
            for event in self.events:
                file.write(json.dumps(asdict(event), default=str) + "\n")

    @classmethod
    def load(cls, path: Path) -> "History":
        with path.open() as file:
            return cls(Event(**json.loads(line)) for line in file)
