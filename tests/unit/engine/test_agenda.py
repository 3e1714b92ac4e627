"""When sweeps happen: at once for what is due, later for what can wait, with grace after a stall."""

import pytest

from osqueue_service.engine.agenda import GRACE_MS, STALL_MS, Agenda
from osqueue_service.engine.alarm import Alarm
from osqueue_service.engine.leases import LeaseTable
from osqueue_service.engine.queue_time import QueueTime
from osqueue_service.engine.settings import EngineSettings
from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.state.model import Lease
from osqueue_service.state.state import State
from tests.unit.log.virtual import SeededIds
from tests.unit.storage.manual_clock import ManualClock

LEASE_MS = 30_000


class Bench:
    """An agenda over one lease, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.leases = LeaseTable()
        self.state = State()
        self.rung = 0
        self.agenda = Agenda(
            self.state,
            self.leases,
            clock=self.clock,
            time=QueueTime(self.clock, 0),
            ids=SeededIds(1),
            alarm=Alarm(self.clock, self._ring),
            limits=DEFAULT_LIMITS,
            settings=EngineSettings(),
        )

    def _ring(self) -> None:
        self.rung += 1

    def lease(self, number: int = 1) -> None:
        lease = Lease(f"token-{number}", "w", 1, 0, LEASE_MS)
        self.leases.start(number, lease, int(self.clock.monotonic_ms()), 0)

    def expired(self) -> list[int]:
        """The leases that a sweep would expire now; none when nothing presses."""
        if not self.agenda.is_pressing():
            return []
        sweep = self.agenda.sweep(0, forget=True)
        return [number for number, _ in sweep.expired] if sweep else []


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_nothing_presses_in_an_empty_queue(bench: Bench) -> None:
    assert not bench.agenda.is_pressing()


async def test_a_lease_expires_at_its_moment_and_not_before(bench: Bench) -> None:
    bench.lease()
    await bench.clock.advance_ms(LEASE_MS - 1)
    assert bench.expired() == []
    await bench.clock.advance_ms(1)
    assert bench.expired() == [1]


async def test_the_alarm_is_set_for_the_first_lease_that_ends(bench: Bench) -> None:
    bench.lease()
    assert not bench.agenda.is_pressing()
    await bench.clock.advance_ms(LEASE_MS)
    assert bench.rung == 0
    await bench.clock.advance_ms(1)
    assert bench.rung == 1


async def test_after_a_stall_leases_live_until_waiting_heartbeats_are_read(bench: Bench) -> None:
    bench.lease()
    await bench.clock.advance_ms(LEASE_MS + STALL_MS + 1)
    assert bench.expired() == []
    bench.leases.renew(1, int(bench.clock.monotonic_ms()), 0, None)
    await bench.clock.advance_ms(GRACE_MS)
    assert bench.expired() == []


async def test_after_a_stall_a_lease_without_heartbeat_expires_a_little_later(bench: Bench) -> None:
    bench.lease()
    await bench.clock.advance_ms(LEASE_MS + STALL_MS + 1)
    assert bench.expired() == []
    await bench.clock.advance_ms(GRACE_MS - 1)
    assert bench.expired() == []
    await bench.clock.advance_ms(1)
    assert bench.expired() == [1]


async def test_a_delay_short_of_a_stall_gives_no_grace(bench: Bench) -> None:
    bench.lease()
    await bench.clock.advance_ms(LEASE_MS + STALL_MS)
    assert bench.expired() == [1]
