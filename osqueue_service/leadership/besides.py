"""Leading another queue beside the one whose root is renewed."""

from collections.abc import Callable

from osqueue_service.leadership.following import Follower
from osqueue_service.leadership.held_root import Heartbeat
from osqueue_service.leadership.lease import LentLease
from osqueue_service.leadership.takeover import Addresses, Takeover
from osqueue_service.leadership.term import Term
from osqueue_service.leadership.watch import Vacancy
from osqueue_service.log import Replayer, RestorePoints, Root, Settler


async def lead_besides(
    paced: Settler,
    settler: Settler,
    root: Root,
    version: str,
    replayer: Replayer,
    *,
    lent: LentLease,
    addresses: Addresses,
    heartbeat: Heartbeat,
    depth: int,
    retention_ms: int,
    wall_ms: Callable[[], int],
) -> Term:
    """Take the root as it was read, whoever it names, and rebuild the queue's state in `replayer`.

    The caller has made sure that nobody else can hold the root that `lent` hangs on: it has read it as its own after
    it read this one. Raises `Deposed` when this root has moved on, and whatever ends `lent`. `paced` is for what may
    have to wait for a throttle, `settler` for what must not.
    """
    follower = Follower(paced, heartbeat, replayer)  # nobody has followed this queue
    takeover = Takeover(settler, heartbeat, addresses, replayer, follower, lent=lent)
    victory = await takeover.run(Vacancy(root, version))
    return Term(paced, victory, depth=depth, points=RestorePoints(paced, retention_ms, wall_ms))
