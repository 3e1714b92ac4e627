"""When sweeps happen: at once for what is due, later for what can wait, with grace after a stall."""

from unittest.mock import patch

import pytest
from msgspec import structs

from osqueue_service.engine.due import GRACE_MS, LOOK_AGAIN_MS, REFILED_MAX, STALL_MS, Due
from osqueue_service.engine.leases import LeaseTable
from osqueue_service.engine.settings import EngineSettings
from osqueue_service.engine.timing import Alarm, Moment
from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.state import due as state_due
from osqueue_service.state.due import ROWS, Row
from osqueue_service.state.model import Lease
from osqueue_service.state.state import State
from tests.unit.engine.bench import BenchTerm
from tests.unit.log.virtual import SeededIds
from tests.unit.storage.manual_clock import ManualClock

LEASE_MS = 30_000


class Bench:
    """The table of what is due over one lease, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.leases = LeaseTable()
        self.state = State()
        self.rung = 0
        self.term = BenchTerm(self.clock, 1)
        self.due = Due(
            self.state,
            self.leases,
            self.term,
            alarm=Alarm(self.clock, self._ring),
            ids=SeededIds(1),
            limits=DEFAULT_LIMITS,
            settings=EngineSettings(),
            clock=self.clock,
        )

    def now(self) -> Moment:
        return Moment(self.clock.monotonic_ms(), 0)

    def _ring(self) -> None:
        self.rung += 1

    def lease(self, number: int = 1) -> None:
        lease = Lease(f"token-{number}", "w", 1, 0, LEASE_MS)
        self.leases.start(number, lease, int(self.clock.monotonic_ms()), 0)

    def expired(self) -> list[int]:
        """The leases that a sweep would expire now; none when nothing presses."""
        now = self.now()
        if not self.due.is_pressing(now):
            return []
        sweep = self.due.sweep(now, forget=True)
        return [number for number, _ in sweep.expired] if sweep else []


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_nothing_presses_in_an_empty_queue(bench: Bench) -> None:
    assert not bench.due.is_pressing(bench.now())


async def test_a_lease_expires_at_its_moment_and_not_before(bench: Bench) -> None:
    bench.lease()
    await bench.clock.advance_ms(LEASE_MS - 1)
    assert bench.expired() == []
    await bench.clock.advance_ms(1)
    assert bench.expired() == [1]


async def test_the_alarm_is_set_for_the_first_lease_that_ends(bench: Bench) -> None:
    bench.lease()
    assert not bench.due.is_pressing(bench.now())
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


async def test_renewed_leases_are_filed_anew_a_bounded_number_at_a_time(bench: Bench) -> None:
    for number in range(1, REFILED_MAX * 3 + 1):
        bench.lease(number)
    await bench.clock.advance_ms(1_000)
    for number in range(1, REFILED_MAX * 3 + 1):
        bench.leases.renew(number, int(bench.clock.monotonic_ms()), 0, None)
    await bench.clock.advance_ms(LEASE_MS - 1_000)
    filed: list[int] = []
    for _ in range(3):
        assert not bench.due.is_pressing(bench.now())
        filed.append(sum(lease.filed == lease.expires for lease in bench.leases.leases.values()))
    assert filed == [REFILED_MAX, REFILED_MAX * 2, REFILED_MAX * 3]


async def test_among_renewed_leases_the_one_that_was_not_expires(bench: Bench) -> None:
    for number in range(1, REFILED_MAX + 2):
        bench.lease(number)
    await bench.clock.advance_ms(1_000)
    for number in range(1, REFILED_MAX + 1):
        bench.leases.renew(number, int(bench.clock.monotonic_ms()), 0, None)
    await bench.clock.advance_ms(LEASE_MS - 1_000)
    assert bench.expired() == []
    await bench.clock.advance_ms(1)
    assert bench.expired() == [REFILED_MAX + 1]


async def test_a_leader_that_was_not_live_starts_leases_anew(bench: Bench) -> None:
    bench.lease()
    await bench.clock.advance_ms(LEASE_MS - 1)
    bench.term.lapses += 1
    assert bench.expired() == []
    await bench.clock.advance_ms(LEASE_MS - 1)
    assert bench.expired() == []
    lease = bench.leases.get(1)
    assert lease is not None and lease.expires == LEASE_MS - 1 + LEASE_MS
    await bench.clock.advance_ms(1)
    assert bench.expired() == [1]


async def test_while_another_may_lead_no_lease_expires(bench: Bench) -> None:
    bench.lease()
    bench.term.live = False
    await bench.clock.advance_ms(LEASE_MS * 2)
    assert bench.expired() == []
    assert bench.rung == 0
    await bench.clock.advance_ms(LOOK_AGAIN_MS + 1)
    assert bench.rung == 1, "it looks again"


def test_each_row_is_asked_once(bench: Bench) -> None:
    asked: list[str] = []

    def counted(row: Row) -> Row:
        def next_ms(state: State) -> int | None:
            asked.append(row.name)
            return row.next_ms(state)

        return structs.replace(row, next_ms=next_ms)

    with patch.object(state_due, "ROWS", tuple(counted(row) for row in ROWS)):
        bench.due.ask(forget=True)
        bench.due.is_pressing(bench.now())
        bench.due.sweep(bench.now(), forget=True)
        bench.due.is_pressing(bench.now())
    assert asked == [row.name for row in ROWS]
