"""What `client.queues` is asked and answers: plain data, free of any wire format."""

from dataclasses import dataclass, field
from typing import NamedTuple

from osqueue.messages import Question
from osqueue.stats import Counts


@dataclass(slots=True)
class QueueInfo:
    """A queue with a name. `max_jobs` is how many live jobs it may hold (0: as many as any queue), `created_at`
    milliseconds since the Unix epoch. Its leader has it in memory while it is `open`; `counts` are of what is in it
    then. Another queue of this name, before or after it, has another `uid`."""

    name: str
    uid: str = ""
    description: str = ""
    max_jobs: int = 0
    created_at: int = 0
    open: bool = False
    counts: Counts = field(default_factory=Counts)


class QueueCreated(NamedTuple):
    """The queue that there is now; `created` when there was none of its name."""

    queue: QueueInfo
    created: bool = False


@dataclass(slots=True)
class CreateQueueRequest(Question[QueueCreated]):
    """A queue that there is to be."""

    name: str
    description: str = ""
    max_jobs: int = 0


class QueueAnswer(NamedTuple):
    """One queue."""

    queue: QueueInfo


@dataclass(slots=True)
class QueueRequest(Question[QueueAnswer]):
    """Which queue."""

    name: str


class QueuePage(NamedTuple):
    """Queues by name; an empty next_page_token ends the walk."""

    queues: list[QueueInfo]
    next_page_token: str = ""


@dataclass(slots=True)
class ListQueuesRequest(Question[QueuePage]):
    """Queues whose names begin with `prefix`; page_size 1 to 1,000 (0: 100)."""

    prefix: str = ""
    page_size: int = 0
    page_token: str = ""


@dataclass(slots=True)
class UpdateQueueRequest(Question[QueueAnswer]):
    """What is to be said of a queue; None: what was said before."""

    name: str
    description: str | None = None
    max_jobs: int | None = None


class QueueDeleted(NamedTuple):
    """How many live jobs it had."""

    live_jobs: int = 0


@dataclass(slots=True)
class DeleteQueueRequest(Question[QueueDeleted]):
    """Which queue is to be gone, its name repeated; with `force`, though it has live jobs."""

    name: str
    confirm: str
    force: bool = False
