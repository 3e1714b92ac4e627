"""Who leads: watching the root, taking over, and holding a term."""

from osqueue_service.leadership.besides import lead_besides
from osqueue_service.leadership.election import DEFAULT_DEPTH, Elector
from osqueue_service.leadership.guarded_clock import GuardedClock
from osqueue_service.leadership.held_root import Heartbeat
from osqueue_service.leadership.lease import LentLease
from osqueue_service.leadership.standbys import Standby, Standbys
from osqueue_service.leadership.takeover import Addresses, Recovered
from osqueue_service.leadership.term import Term
from osqueue_service.leadership.watch import Bar
from osqueue_service.log import Replayer

__all__ = [
    "DEFAULT_DEPTH",
    "Addresses",
    "Bar",
    "Elector",
    "GuardedClock",
    "Heartbeat",
    "LentLease",
    "Recovered",
    "Replayer",
    "Standby",
    "Standbys",
    "Term",
    "lead_besides",
]
