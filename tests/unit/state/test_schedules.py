"""Schedules in the core: what fires when, what does not and why, and that a replay of the log knows the same."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from osqueue_service.errors import (
    IdempotencyConflict,
    InvalidRequest,
    QueueFull,
    RevisionConflict,
    ScheduleNotFound,
)
from osqueue_service.limits import DEFAULT_LIMITS, HOUR_MS, MINUTE_MS, Limits
from osqueue_service.state import image
from osqueue_service.state.commands import (
    BackfillSchedule,
    DeleteSchedule,
    PauseSchedule,
    PutSchedule,
    ResumeSchedule,
    Sweep,
    TriggerSchedule,
)
from osqueue_service.state.model import Status
from osqueue_service.state.schedules import Missed, Outcome, Overlap, Schedule, ScheduleSpec
from osqueue_service.timetable import zones
from tests.core import Core, spec

START = 1_767_225_600_000
"""2026-01-01T00:00Z, a Thursday."""


def minutely(**fields: Any) -> ScheduleSpec:
    return ScheduleSpec(job=spec("report", b'{"n":1}'), **{"every_ms": MINUTE_MS, **fields})


def core_with(limits: Limits = DEFAULT_LIMITS, **fields: Any) -> Core:
    core = Core(limits, now_ms=START + 1)
    put(core, minutely(**fields))
    return core


def put(core: Core, spec: ScheduleSpec, id: str = "s", revision: int | None = None) -> Schedule:
    schedule: Schedule = core.do(PutSchedule(id, spec, revision))
    return schedule


def get(core: Core, id: str = "s") -> Schedule:
    schedule = core.state.schedules.get(id)
    assert schedule is not None
    return schedule


def pass_time(core: Core, ms: int) -> None:
    """Time passes, and a leader sweeps whenever something is due."""
    end = core.now_ms + ms
    while True:
        moments = [
            moment for moment in (core.state.schedules.next_ms(), core.state.scheduled.next_ms()) if moment is not None
        ]
        moment = min(moments, default=end + 1)
        if moment > end:
            break
        core.now_ms = max(core.now_ms, moment)
        core.sweep()
    core.now_ms = end


def minutes(*numbers: int) -> list[int]:
    return [START + number * MINUTE_MS for number in numbers]


def fired(core: Core) -> list[int]:
    """For which times jobs were made, in the order of their submission."""
    jobs = sorted(core.state.jobs.values(), key=lambda job: job.number)
    return [job.spec.more.scheduled_for for job in jobs if job.spec.more is not None]


def told(core: Core) -> list[tuple[int, Outcome]]:
    return [(firing.nominal, firing.outcome) for firing in get(core).recent]


def finish(core: Core) -> None:
    core.complete(core.claim_one())


class TestFiring:
    def test_a_firing_makes_a_job_that_says_which_time_it_is_for(self):
        core = core_with()
        pass_time(core, MINUTE_MS)
        (job,) = core.state.jobs.values()
        assert job.spec.more is not None
        assert (job.spec.more.schedule, job.spec.more.scheduled_for) == ("s", START + MINUTE_MS)
        assert (job.spec.type, job.spec.payload, job.status) == ("report", b'{"n":1}', Status.UNCLAIMED)
        assert told(core) == [(START + MINUTE_MS, Outcome.FIRED)]
        assert get(core).plan.next_at == START + 2 * MINUTE_MS
        core.check_replay()

    def test_each_time_fires_once_however_often_a_leader_sweeps(self):
        core = core_with(overlap=Overlap.ALLOW_ALL)
        for _ in range(10):
            core.advance(MINUTE_MS // 2)
            core.sweep()
            core.sweep()
        assert fired(core) == minutes(1, 2, 3, 4, 5)
        core.check_replay()

    def test_it_waits_for_the_wall_clock_as_well_as_for_queue_time(self):
        core = core_with()
        core.advance(MINUTE_MS)
        core.do(Sweep(wall_ms=core.now_ms - HOUR_MS))
        assert fired(core) == []
        core.do(Sweep(wall_ms=core.now_ms))
        assert fired(core) == minutes(1)
        core.advance(MINUTE_MS)
        core.do(Sweep(wall_ms=core.now_ms - HOUR_MS))
        assert fired(core) == minutes(1), (
            "the clock was set back an hour: no time fires twice, and none before it comes"
        )

    def test_jitter_puts_a_firing_off_by_the_same_for_the_same_time(self):
        core = core_with(jitter_ms=30_000)
        plan = get(core).plan
        assert START + MINUTE_MS <= plan.due_at < START + MINUTE_MS + 30_000
        again = core_with(jitter_ms=30_000)
        assert get(again).plan == plan
        spread = set()
        for number in range(50):
            put(core, minutely(jitter_ms=30_000), id=f"s{number}")
            spread.add(get(core, f"s{number}").plan.due_at)
        assert len(spread) > 40
        pass_time(core, 2 * MINUTE_MS)
        assert START + MINUTE_MS in fired(core)

    def test_start_end_and_max_fires_bound_it(self):
        core = core_with(start_at=START + 3 * MINUTE_MS, end_at=START + 5 * MINUTE_MS, overlap=Overlap.ALLOW_ALL)
        pass_time(core, 10 * MINUTE_MS)
        assert fired(core) == minutes(3, 4, 5)
        assert get(core).plan.next_at == 0
        core = core_with(max_fires=2, overlap=Overlap.ALLOW_ALL)
        pass_time(core, 10 * MINUTE_MS)
        assert fired(core) == minutes(1, 2)
        core.check_replay()

    def test_a_sweep_is_bounded_and_what_is_left_comes_with_the_next(self):
        core = Core(now_ms=START + 1)
        for number in range(30):
            put(core, minutely(), id=f"s{number}")
        core.advance(MINUTE_MS)
        core.sweep(limit=10)
        assert len(fired(core)) == 10
        core.sweep(limit=10)
        core.sweep(limit=10)
        assert len(fired(core)) == 30
        core.check_replay()

    def test_jobs_that_come_due_and_schedules_share_a_sweep(self):
        core = core_with()
        core.submit(run_at=core.now_ms + 1_000)
        core.advance(MINUTE_MS)
        core.sweep()
        assert len(core.order()) == 2
        core.check_replay()

    def test_only_so_many_firings_are_remembered(self):
        core = core_with(overlap=Overlap.ALLOW_ALL)
        pass_time(core, 25 * MINUTE_MS)
        assert [nominal for nominal, _ in told(core)] == minutes(*range(16, 26))
        assert get(core).tally.fired == 25 == core.state.schedules.tally.fired


class TestOverlap:
    def test_skip_leaves_out_times_while_the_last_job_is_live(self):
        core = core_with()
        pass_time(core, 2 * MINUTE_MS)
        assert fired(core) == minutes(1)
        (skipped,) = [firing for firing in get(core).recent if firing.outcome is Outcome.SKIPPED]
        assert (skipped.nominal, skipped.job) == (START + 2 * MINUTE_MS, get(core).last_job)
        finish(core)
        pass_time(core, MINUTE_MS)
        assert fired(core)[-1] == START + 3 * MINUTE_MS
        core.check_replay()

    def test_a_dead_job_has_ended_and_a_delayed_or_running_one_has_not(self):
        core = core_with()
        pass_time(core, MINUTE_MS)
        granted = core.claim_one()
        pass_time(core, MINUTE_MS)
        assert told(core)[-1][1] is Outcome.SKIPPED
        core.fail(granted, retryable=False)
        pass_time(core, MINUTE_MS)
        assert told(core)[-1][1] is Outcome.FIRED

    def test_buffer_one_holds_one_time_until_the_last_job_ended(self):
        core = core_with(overlap=Overlap.BUFFER_ONE)
        pass_time(core, 3 * MINUTE_MS)
        assert told(core) == [
            (START + MINUTE_MS, Outcome.FIRED),
            (START + 2 * MINUTE_MS, Outcome.BUFFERED),
            (START + 3 * MINUTE_MS, Outcome.DROPPED),
        ]
        core.check_replay()
        finish(core)
        pass_time(core, 1)
        assert (START + 2 * MINUTE_MS, Outcome.FIRED) in told(core)
        assert get(core).buffer == ()
        core.check_replay()

    def test_buffer_all_holds_them_in_order_up_to_the_limit(self):
        core = core_with(replace(DEFAULT_LIMITS, buffered_firings=3), overlap=Overlap.BUFFER_ALL)
        pass_time(core, 6 * MINUTE_MS)
        assert get(core).buffer == tuple(minutes(2, 3, 4))
        assert get(core).tally.dropped == 2
        for _ in range(3):
            finish(core)
            core.sweep()
        assert fired(core) == minutes(1, 2, 3, 4)
        core.check_replay()

    def test_cancel_other_cancels_a_waiting_job_and_takes_its_place(self):
        core = core_with(overlap=Overlap.CANCEL_OTHER)
        pass_time(core, 2 * MINUTE_MS)
        first, second = sorted(core.state.jobs.values(), key=lambda job: job.number)
        assert (first.status, second.status) == (Status.CANCELLED, Status.UNCLAIMED)
        core.check_replay()

    def test_cancel_other_asks_a_running_job_to_stop_and_fires_when_it_has_ended(self):
        core = core_with(overlap=Overlap.CANCEL_OTHER)
        pass_time(core, MINUTE_MS)
        running = core.claim_one()
        pass_time(core, 2 * MINUTE_MS)
        assert core.job(running.job_id).cancel_requested
        assert get(core).buffer == tuple(minutes(3)), "the latest time waits; the one before it gave way"
        assert fired(core) == minutes(1)
        core.release(running)
        core.sweep()
        assert core.status(running.job_id) is Status.CANCELLED
        assert fired(core) == minutes(1, 3)
        core.check_replay()

    @pytest.mark.parametrize("ending", ["expire", "purge", "cancel"])
    def test_any_end_of_the_last_job_frees_what_is_held(self, ending: str):
        core = core_with(overlap=Overlap.BUFFER_ONE)
        pass_time(core, MINUTE_MS)
        (job_id,) = [core.state.job_id(job) for job in core.state.jobs.values()]
        pass_time(core, MINUTE_MS)
        if ending == "expire":
            for _ in range(3):
                core.expire(core.claim_one())
        elif ending == "purge":
            core.purge(job_id)
        else:
            core.cancel(job_id)
        core.sweep()
        assert fired(core)[-1] == START + 2 * MINUTE_MS
        core.check_replay()

    def test_a_dead_job_that_is_retried_is_live_again(self):
        core = core_with(overlap=Overlap.BUFFER_ONE)
        pass_time(core, MINUTE_MS)
        granted = core.claim_one()
        pass_time(core, MINUTE_MS)
        core.fail(granted, retryable=False)
        core.retry(granted.job_id)
        core.sweep()
        assert fired(core) == minutes(1)
        core.check_replay()


class TestMissed:
    def down(self, ms: int, **fields: Any) -> Core:
        core = core_with(**fields)
        core.advance(ms)
        core.sweep()
        return core

    def test_of_times_that_passed_while_nobody_led_the_latest_fires(self):
        core = self.down(10 * MINUTE_MS)
        assert fired(core) == minutes(10)
        (missed, _) = get(core).recent
        assert (missed.outcome, missed.nominal, missed.count) == (Outcome.MISSED, START + 9 * MINUTE_MS, 9)
        assert get(core).tally.missed == 9
        core.check_replay()

    def test_all_fire_where_the_schedule_says_so(self):
        core = self.down(10 * MINUTE_MS, missed=Missed.ALL, overlap=Overlap.ALLOW_ALL)
        assert fired(core) == minutes(*range(1, 11))

    def test_all_is_bounded_by_the_limit_and_the_window(self):
        core = self.down(1_000 * MINUTE_MS, missed=Missed.ALL, overlap=Overlap.ALLOW_ALL)
        assert fired(core) == minutes(*range(901, 1_001))
        window = {"catchup_window_ms": 3 * MINUTE_MS}
        core = self.down(10 * MINUTE_MS, missed=Missed.ALL, overlap=Overlap.ALLOW_ALL, **window)
        assert fired(core) == minutes(8, 9, 10)

    def test_none_fires_what_is_a_little_late_and_nothing_older(self):
        core = self.down(10 * MINUTE_MS + 30_000, missed=Missed.NONE)
        assert fired(core) == minutes(10)
        core = core_with(every_ms=HOUR_MS, missed=Missed.NONE)
        core.advance(HOUR_MS + 10 * MINUTE_MS)
        core.sweep()
        assert fired(core) == []
        assert get(core).plan.next_at == START + 2 * HOUR_MS

    def test_a_long_downtime_costs_no_walk_over_every_time(self):
        core = self.down(365 * 24 * HOUR_MS, every_ms=0, cron="* * * * *", time_zone="Europe/Berlin")
        assert fired(core) == [START + 365 * 24 * HOUR_MS]
        assert get(core).plan.next_at == START + 365 * 24 * HOUR_MS + MINUTE_MS


class TestFullQueue:
    def full(self, **fields: Any) -> Core:
        core = core_with(replace(DEFAULT_LIMITS, jobs=1), **fields)
        core.submit("other")
        pass_time(core, MINUTE_MS)
        return core

    def test_the_cursor_stays_and_it_is_tried_again(self):
        core = self.full()
        assert told(core) == [(START + MINUTE_MS, Outcome.DELAYED)]
        assert get(core).plan.next_at == START + MINUTE_MS
        core.check_replay()
        finish(core)
        pass_time(core, core.limits.firing_retry_ms)
        assert told(core) == [(START + MINUTE_MS, Outcome.FIRED)]
        assert get(core).tally.delayed == 1

    def test_from_the_next_time_on_it_is_missed_as_the_schedule_says(self):
        core = self.full()
        pass_time(core, MINUTE_MS + core.limits.firing_retry_ms)
        finish(core)
        pass_time(core, core.limits.firing_retry_ms)
        assert fired(core) == minutes(2)
        assert get(core).tally.missed == 1

    def test_a_held_time_waits_for_room_too(self):
        core = core_with(replace(DEFAULT_LIMITS, jobs=1), overlap=Overlap.BUFFER_ONE)
        pass_time(core, 2 * MINUTE_MS)
        granted = core.claim_one()
        core.complete(granted)
        core.submit("other")
        pass_time(core, 1)
        assert get(core).buffer == tuple(minutes(2))
        core.check_replay()
        core.complete(core.claim_one())
        pass_time(core, core.limits.firing_retry_ms)
        assert fired(core)[-1] == START + 2 * MINUTE_MS


class TestPut:
    def test_the_same_again_changes_nothing(self):
        core = core_with()
        commits = len(core.log)
        assert put(core, minutely()).revision == 1
        assert len(core.log) == commits

    def test_another_template_keeps_the_next_time_and_raises_the_revision(self):
        core = core_with()
        pass_time(core, 90_000)
        changed = put(core, replace_job(minutely(), b'{"n":2}'))
        assert (changed.revision, changed.plan.next_at) == (2, START + 2 * MINUTE_MS)
        assert get(core) == changed

    def test_other_times_begin_now_and_never_fire_at_once(self):
        core = core_with()
        core.advance(90_000)
        changed = put(core, minutely(every_ms=10 * MINUTE_MS))
        assert fired(core) == minutes(1), "what was due under the old times fires first"
        assert changed.plan.next_at == START + 10 * MINUTE_MS
        core.check_replay()

    def test_it_never_changes_whether_it_is_paused(self):
        core = core_with()
        core.do(PauseSchedule("s"))
        assert put(core, minutely(every_ms=1_000)).paused
        pass_time(core, HOUR_MS)
        assert fired(core) == []
        core.check_replay()

    def test_a_revision_that_is_not_its_own_is_refused(self):
        core = core_with()
        for revision in (0, 2):
            with pytest.raises(RevisionConflict, match="has revision 1"):
                put(core, minutely(every_ms=1_000), revision=revision)
        assert put(core, minutely(every_ms=1_000), revision=1).revision == 2
        assert put(core, minutely(every_ms=1_000), revision=1).revision == 2, "a repetition finds what it wanted"
        with pytest.raises(RevisionConflict, match="there is no schedule"):
            put(core, minutely(), "other", revision=1)
        assert put(core, minutely(), "other", revision=0).revision == 1

    @pytest.mark.parametrize(
        "fields",
        [{"end_at": START - 1}, {"start_at": START + HOUR_MS, "end_at": START + HOUR_MS - 1}],
    )
    def test_one_that_would_never_fire_is_refused(self, fields: dict[str, int]):
        core = Core(now_ms=START + 1)
        with pytest.raises(InvalidRequest, match="never fire"):
            put(core, minutely(**fields))
        assert not core.state.schedules

    def test_max_fires_below_what_it_has_fired_is_refused(self):
        core = core_with(overlap=Overlap.ALLOW_ALL)
        pass_time(core, 3 * MINUTE_MS)
        with pytest.raises(InvalidRequest, match="has fired 3 times"):
            put(core, minutely(max_fires=2, overlap=Overlap.ALLOW_ALL))

    def test_at_most_so_many_schedules_and_bytes_of_templates(self):
        core = core_with(replace(DEFAULT_LIMITS, schedules=2, schedules_bytes=50))
        put(core, minutely(), "second")
        with pytest.raises(QueueFull, match=r"at most 2.*\(schedules\)"):
            put(core, minutely(), "third")
        with pytest.raises(QueueFull, match="schedules_bytes"):
            put(core, replace_job(minutely(), b"x" * 50), "second")
        put(core, replace_job(minutely(), b"x" * 31), "second")


class TestControl:
    def test_paused_time_is_not_missed(self):
        core = core_with()
        core.do(PauseSchedule("s", "holidays"))
        assert get(core).pause_reason == "holidays"
        pass_time(core, 10 * MINUTE_MS)
        resumed = core.do(ResumeSchedule("s"))
        assert resumed == get(core) and not resumed.paused
        pass_time(core, MINUTE_MS)
        assert fired(core) == minutes(11)
        core.check_replay()

    def test_deleting_leaves_its_jobs(self):
        core = core_with()
        pass_time(core, MINUTE_MS)
        assert core.do(DeleteSchedule("s"))
        assert not core.do(DeleteSchedule("s")), "it is not there, as was asked for"
        pass_time(core, HOUR_MS)
        assert fired(core) == minutes(1)
        finish(core)
        core.check_replay()
        assert core.state.schedules.tally.fired == 1

    @pytest.mark.parametrize(
        "command",
        [
            lambda: PauseSchedule("x"),
            lambda: ResumeSchedule("x"),
            lambda: TriggerSchedule("x"),
            lambda: BackfillSchedule("x", 0, 1),
        ],
    )
    def test_what_is_not_there_is_said(self, command: Callable[[], Any]):
        with pytest.raises(ScheduleNotFound, match="'x'"):
            core_with().do(command())

    def test_so_many_deaths_in_a_row_pause_it(self):
        core = core_with(pause_after_dead=2)
        for _ in range(2):
            pass_time(core, MINUTE_MS)
            core.fail(core.claim_one(), retryable=False)
        pass_time(core, 5 * MINUTE_MS)
        assert get(core).paused and "pause_after_dead" in get(core).pause_reason
        assert fired(core) == minutes(1, 2)
        core.check_replay()
        core.do(ResumeSchedule("s"))
        pass_time(core, MINUTE_MS)
        assert len(fired(core)) == 3

    def test_a_success_between_two_deaths_begins_the_count_anew(self):
        core = core_with(pause_after_dead=2)
        for retryable in (False, None, False):
            pass_time(core, MINUTE_MS)
            if retryable is None:
                finish(core)
            else:
                core.fail(core.claim_one(), retryable=False)
        pass_time(core, MINUTE_MS)
        assert not get(core).paused


class TestByHand:
    def test_a_trigger_makes_a_job_besides_the_times(self):
        core = core_with()
        core.do(PauseSchedule("s"))
        ((job_id, at),) = core.do(TriggerSchedule("s"))
        assert at == core.now_ms
        assert core.status(job_id) is Status.UNCLAIMED
        assert get(core).tally.by_hand == 1
        assert get(core).plan.next_at == START + MINUTE_MS
        core.check_replay()

    def test_a_repeated_trigger_answers_the_same_job(self):
        core = core_with()
        first = core.do(TriggerSchedule("s", "request"))
        assert core.do(TriggerSchedule("s", "request"))[0][0] == first[0][0]
        assert len(core.state.jobs) == 1
        with pytest.raises(IdempotencyConflict):
            core.do(BackfillSchedule("s", START, START + 1, "request"))
        core.check_replay()

    def test_a_backfill_makes_a_job_for_each_time_of_the_span(self):
        core = core_with()
        pass_time(core, 10 * MINUTE_MS)
        made = core.do(BackfillSchedule("s", START + 3 * MINUTE_MS, START + 6 * MINUTE_MS, "request"))
        assert [at for _, at in made] == minutes(3, 4, 5)
        assert core.do(BackfillSchedule("s", START + 3 * MINUTE_MS, START + 6 * MINUTE_MS, "request")) == made
        core.check_replay()

    def test_a_backfill_is_of_the_past_and_at_most_so_long(self):
        core = core_with(replace(DEFAULT_LIMITS, backfill_jobs=3))
        core.advance(10 * MINUTE_MS)
        with pytest.raises(InvalidRequest, match="future"):
            core.do(BackfillSchedule("s", START, core.now_ms + 1))
        with pytest.raises(InvalidRequest, match="backfill_jobs"):
            core.do(BackfillSchedule("s", START, START + 4 * MINUTE_MS))
        assert len(core.do(BackfillSchedule("s", START, START + 3 * MINUTE_MS))) == 3

    def test_a_full_queue_refuses_both(self):
        core = core_with(replace(DEFAULT_LIMITS, jobs=1))
        core.submit()
        with pytest.raises(QueueFull):
            core.do(TriggerSchedule("s"))


class TestTimeZones:
    def test_a_leader_with_another_database_works_out_anew_what_comes(self, monkeypatch: pytest.MonkeyPatch):
        core = core_with(every_ms=0, cron="0 9 * * *", time_zone="Europe/Berlin")
        planned = get(core).plan
        assert planned.zones == zones.VERSION
        monkeypatch.setattr("osqueue_service.state.schedules.VERSION", "2099a")
        assert core.state.schedules.next_ms() == 0
        core.sweep()
        assert get(core).plan == type(planned)(
            planned.decided, planned.next_at, planned.due_at, "2099a", planned.problem, planned.retry_at
        )
        assert core.state.schedules.next_ms() == planned.due_at
        core.check_replay()

    def test_a_zone_that_is_gone_stops_the_schedule_and_says_so(self, monkeypatch: pytest.MonkeyPatch):
        core = core_with(every_ms=0, cron="0 9 * * *", time_zone="Europe/Berlin")
        monkeypatch.setattr("osqueue_service.state.schedules.VERSION", "2099a")
        monkeypatch.setattr("osqueue_service.state.schedules.calendar", gone)
        core.sweep()
        assert get(core).plan.next_at == 0 and "Europe/Berlin" in get(core).plan.problem
        pass_time(core, 48 * HOUR_MS)
        assert fired(core) == []
        core.check_replay()

    def test_a_time_that_is_due_fires_though_its_zone_is_gone(self, monkeypatch: pytest.MonkeyPatch):
        core = core_with(every_ms=0, cron="0 9 * * *", time_zone="Europe/Berlin")
        core.advance(12 * HOUR_MS)
        monkeypatch.setattr("osqueue_service.state.schedules.calendar", gone)
        core.sweep()
        assert len(fired(core)) == 1
        assert "Europe/Berlin" in get(core).plan.problem


def gone(expression: str, time_zone: str, *rules: Any) -> Any:
    raise zones.UnknownZone(f"{time_zone!r} is no time zone of the database")


def replace_job(schedule: ScheduleSpec, payload: bytes) -> ScheduleSpec:
    return ScheduleSpec(job=spec("report", payload), every_ms=schedule.every_ms)


def test_each_time_fires_once_across_many_takeovers():
    """A leader dies again and again, with schedules due, half done and held; its successor knows the log alone, or an
    image and what came after it."""
    core = Core(now_ms=START)
    draw = random.Random(17)
    for number in range(12):
        every_ms = draw.choice([2_000, 7_000, 20_000])
        overlap = draw.choice([Overlap.ALLOW_ALL, Overlap.BUFFER_ALL])
        put(core, minutely(every_ms=every_ms, overlap=overlap, missed=Missed.ALL), id=f"s{number}")
    begin, parts, after = core.now_ms, [], 0
    seen: dict[tuple[str, int], int] = Counter()
    for _ in range(60):
        core.advance(draw.choice([300, 1_000, 2_500]))
        core.do(Sweep(limit=draw.choice([5, 50, 500])))
        for granted in core.claim(max_jobs=draw.choice([0, 5, 20])):
            more = granted.spec.more
            assert more is not None
            seen[more.schedule, more.scheduled_for] += 1
            core.complete(granted)
        if draw.random() < 0.3:
            parts, after = image.encode(core.state), len(core.log)
        core.state.take_apart()
        core.state = core.rebuilt(after, parts)
    while core.state.schedules.next_ms() is not None and (core.state.schedules.next_ms() or 0) <= core.now_ms:
        core.sweep()
    for granted in core.claim(max_jobs=10_000):
        more = granted.spec.more
        assert more is not None
        seen[more.schedule, more.scheduled_for] += 1
    assert set(seen.values()) == {1}
    for schedule in core.state.schedules.by_id.values():
        every_ms = schedule.spec.every_ms
        first = begin - begin % every_ms + every_ms
        wanted = set(range(first, core.now_ms + 1, every_ms))
        done = {at for name, at in seen if name == schedule.id}
        assert wanted == done | set(schedule.buffer), schedule.id
