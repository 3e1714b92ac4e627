"""A schedule of a request, checked."""

import re

from osqueue_service.limits import Limits
from osqueue_service.rpc.fields import TypeNames, Violations, check_name, check_number, shown
from osqueue_service.rpc.queue_service.submissions import SubmissionReader
from osqueue_service.state.model import JobSpec
from osqueue_service.state.schedules import Missed, Overlap, ScheduleSpec
from osqueue_service.timetable.cron import parse
from osqueue_service.timetable.field import BadCron
from osqueue_service.timetable.timetable import Gap, Repeat
from osqueue_service.timetable.zones import UTC, UnknownZone, zone
from osqueue_stubs.osqueue.v1 import queue_pb2, schedules_pb2

_OF_ONE_JOB = ("run_at", "delay_ms", "idempotency_key", "request_id")
"""What a template cannot have: it would be the same for each of its jobs."""

_ID = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_NO_JOB = JobSpec("", b"{}")


class ScheduleReader:
    """Reads what people put."""

    def __init__(self, limits: Limits, types: TypeNames) -> None:
        self._limits = limits
        self._jobs = SubmissionReader(limits, types)

    def read(
        self, schedule: schedules_pb2.Schedule, now_ms: int, wrong: Violations, *, template: bool = True
    ) -> ScheduleSpec:
        """The schedule as the queue keeps it; meaningless if anything was wrong. Without `template` its job is not
        looked at."""
        job = self._template(schedule.job, now_ms, wrong) if template else _NO_JOB
        self._when(schedule, wrong)
        limits = self._limits
        _check_optional(schedule.jitter_ms, "jitter_ms", 1, limits.jitter_ms_max, wrong, " ms")
        if schedule.every_ms and schedule.jitter_ms >= schedule.every_ms:
            wrong.add("schedule.jitter_ms", f"is {schedule.jitter_ms}; it must be less than every_ms")
        for name in ("start_at", "end_at", "anchor_at"):
            if getattr(schedule, name) < 0:
                wrong.add(f"schedule.{name}", "is negative; it must be milliseconds since 1970-01-01 UTC, or 0")
        if schedule.end_at and schedule.end_at < schedule.start_at:
            wrong.add("schedule.end_at", "is before start_at; it must be the same or later")
        _check_optional(schedule.max_fires, "max_fires", 1, limits.max_fires, wrong)
        window_min, window_max = limits.catchup_window_ms_min, limits.catchup_window_ms_max
        _check_optional(schedule.catchup_window_ms, "catchup_window_ms", window_min, window_max, wrong, " ms")
        _check_optional(schedule.pause_after_dead, "pause_after_dead", 1, limits.pause_after_dead, wrong)
        for name, enum in _ENUMS.items():
            if getattr(schedule, name) not in enum.values():
                wrong.add(
                    f"schedule.{name}", f"is {getattr(schedule, name)}; it must be one of {', '.join(enum.keys())}"
                )
        if wrong:
            return ScheduleSpec(job)
        return ScheduleSpec(
            job=job,
            cron=" ".join(schedule.cron.split()),
            time_zone="" if schedule.time_zone == UTC else schedule.time_zone,
            dst_gap=Gap(schedule.dst_gap),
            dst_repeat=Repeat(schedule.dst_repeat),
            every_ms=schedule.every_ms,
            anchor_at=schedule.anchor_at,
            jitter_ms=schedule.jitter_ms,
            start_at=schedule.start_at,
            end_at=schedule.end_at,
            max_fires=schedule.max_fires,
            overlap=Overlap(schedule.overlap or Overlap.SKIP),
            missed=Missed(schedule.missed or Missed.LATEST),
            catchup_window_ms=schedule.catchup_window_ms,
            pause_after_dead=schedule.pause_after_dead,
        )

    def _template(self, job: queue_pb2.SubmitJobRequest, now_ms: int, wrong: Violations) -> JobSpec:
        wrong.part = "schedule.job."
        for name in _OF_ONE_JOB:
            if getattr(job, name):
                wrong.add(
                    name, "is set in a template, and would be the same for each job of the schedule; leave it out"
                )
        spec = self._jobs.read(job, now_ms, wrong)
        wrong.part = ""
        return spec

    def _when(self, schedule: schedules_pb2.Schedule, wrong: Violations) -> None:
        """Either an expression in a time zone, or an interval."""
        if bool(schedule.cron) == bool(schedule.every_ms):
            wrong.add("schedule.cron", "says when, or every_ms does: set one of them")
        elif schedule.cron:
            _check_cron(schedule, self._limits.cron_chars, wrong)
        else:
            limits = self._limits
            check_number(schedule.every_ms, "schedule.every_ms", limits.every_ms_min, limits.every_ms_max, wrong, " ms")
            for name in ("time_zone", "dst_gap", "dst_repeat"):
                if getattr(schedule, name):
                    wrong.add(f"schedule.{name}", "is for cron; every_ms is an interval of physical time")


def _check_cron(schedule: schedules_pb2.Schedule, chars_max: int, wrong: Violations) -> None:
    if len(schedule.cron) > chars_max:
        wrong.add(
            "schedule.cron", f"has {len(schedule.cron):,} characters; at most {chars_max} are allowed (cron_chars)"
        )
        return
    try:
        parse(schedule.cron)
    except BadCron as error:
        wrong.add("schedule.cron", str(error))
    try:
        zone(schedule.time_zone or UTC)
    except UnknownZone as error:
        wrong.add("schedule.time_zone", str(error))
    if schedule.anchor_at:
        wrong.add("schedule.anchor_at", "is for every_ms; a cron expression has no beginning, but start_at")


def _check_optional(value: int, name: str, least: int, most: int, wrong: Violations, unit: str = "") -> None:
    """A number in a range, or 0 for none."""
    if value and not least <= value <= most:
        wrong.add(f"schedule.{name}", f"is {value}; it must be from {least:,} to {most:,}{unit}, or 0")


_ENUMS = {
    "dst_gap": schedules_pb2.DstGap,
    "dst_repeat": schedules_pb2.DstRepeat,
    "overlap": schedules_pb2.Overlap,
    "missed": schedules_pb2.Missed,
}


def check_schedule_id(value: str, field: str, limits: Limits, wrong: Violations) -> None:
    """The id of a schedule: it is part of paths."""
    check_name(value, field, limits.id_chars, wrong, required=True)
    if value and _ID.fullmatch(value) is None:
        wrong.add(field, f"{shown(value)} must begin with a letter, and have no characters but A-Z a-z 0-9 . _ -")
