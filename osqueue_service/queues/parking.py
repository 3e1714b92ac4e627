"""Named queues that nobody uses leave the leader's memory, and cost nothing but their storage until somebody does."""

from collections.abc import Iterable

import msgspec

from osqueue_service.log import Root
from osqueue_service.queues.named_queue import NamedQueue


def parked(root: Root) -> Root:
    """The root of a queue that nobody leads, because nobody has to."""
    return msgspec.structs.replace(root, broker=None, grpc_address=None, member=None)


def idle_since(queues: Iterable[NamedQueue], before_ms: float) -> list[NamedQueue]:
    """Those that were last used before this moment and are idle, the one idle for longest first."""
    found = [queue for queue in queues if queue.used_ms <= before_ms and queue.is_idle]
    return sorted(found, key=lambda queue: queue.used_ms)
