"""What the log says of schedules with an interval: each of their times is decided once, whoever leads (rule 17)."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.state.records import (
    Decision,
    Fired,
    SchedulePut,
    ScheduleResumed,
    SchedulesRemoved,
)
from osqueue_service.state.schedules import Outcome, Plan, ScheduleSpec
from tests.checkers.logbook import Logbook

COUNTED = 2 * DEFAULT_LIMITS.caught_up_firings
"""As many of the times that have passed are looked at, at least: the first ones, and the last ones."""

_BESIDES = (Outcome.TRIGGERED, Outcome.BACKFILLED, Outcome.DELAYED)
"""Outcomes that are not about whether a time has been decided."""


def times_are_decided_once(book: Logbook) -> Iterator[str]:
    """No time fires twice, and between what was to come and what comes now each was decided, one way or another."""
    watch = _Watch()
    for commit in book.commits:
        for record in commit.records:
            if isinstance(record, SchedulePut):
                watch.specs[record.number], watch.plans[record.number] = record.spec, record.plan
            elif isinstance(record, ScheduleResumed):
                watch.plans[record.number] = record.plan
            elif isinstance(record, SchedulesRemoved):
                for number in record.numbers:
                    del watch.specs[number], watch.plans[number]
            elif isinstance(record, Fired):
                yield from watch.follow(record)


def outcomes(book: Logbook) -> Counter[Outcome]:
    """How many times came to what."""
    records = [record for commit in book.commits for record in commit.records if isinstance(record, Fired)]
    return Counter(decision.outcome for record in records for decision in record.decisions)


class _Watch:
    """What is known of the schedules so far."""

    def __init__(self) -> None:
        self.specs: dict[int, ScheduleSpec] = {}
        self.plans: dict[int, Plan] = {}
        self._held: defaultdict[int, set[int]] = defaultdict(set)
        self._fired: set[tuple[int, int]] = set()

    def follow(self, record: Fired) -> Iterator[str]:
        decided: defaultdict[int, list[Decision]] = defaultdict(list)
        for decision in record.decisions:
            time = decision.schedule, decision.nominal
            if decision.outcome is Outcome.FIRED:
                if time in self._fired:
                    yield f"rule 17: the time {decision.nominal} of schedule number {decision.schedule} fired twice"
                self._fired.add(time)
            if decision.outcome in _BESIDES:
                continue
            held = self._held[decision.schedule]
            if decision.nominal in held:
                held.discard(decision.nominal)
                continue
            if decision.outcome is Outcome.BUFFERED:
                held.add(decision.nominal)
            decided[decision.schedule].append(decision)
        new = {planned.schedule: planned.plan for planned in record.plans}
        for number in {*decided, *new}:
            yield from self._check(number, decided[number], new.get(number, self.plans[number]))
        self.plans |= new

    def _check(self, number: int, decided: list[Decision], plan: Plan) -> Iterator[str]:
        before, every_ms = self.plans[number].next_at, self.specs[number].every_ms
        if not before or not plan.next_at:
            return
        passed, told = (plan.next_at - before) // every_ms, sum(decision.count for decision in decided)
        # After a long while, such as a clock that jumps, those missed are counted up to a limit.
        if told != passed and not COUNTED <= told < passed:
            yield f"rule 17: {passed} times of schedule number {number} passed from {before} on, {told} were decided"
