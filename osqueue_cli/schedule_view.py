"""Schedules for people: a line of a table, a page, their times."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from osqueue_cli import output
from osqueue_cli.shapes import to_json

if TYPE_CHECKING:
    from osqueue import Schedule, ScheduledTime, ScheduleInfo

_COLOURS = {"active": "green", "paused": "yellow", "ended": "bright_black", "broken": "red"}
_FIRING_HEAD = ["TIME", "OUTCOME", "DECIDED", "JOB", "STATUS"]


def when(schedule: "Schedule") -> str:
    """Its times in a few words."""
    if schedule.every_ms:
        return f"every {output.duration(schedule.every_ms)}"
    return f"{schedule.cron} {schedule.time_zone}"


def row(info: "ScheduleInfo") -> list[str]:
    """One schedule as a line of the table."""
    tally = info.tally
    return [
        info.id, when(info.schedule), info.state,
        info.next[0].local if info.next else "", f"{tally.fired:,}", f"{tally.skipped:,}", f"{tally.missed:,}",
        info.schedule.job.type if info.schedule.job else "",
    ]  # fmt: skip


def print_times(times: "Sequence[ScheduledTime]") -> None:
    """Each as clocks in the schedule's zone show it, and as those here do."""
    output.print_table(["THERE", "HERE"], [[each.local, output.timestamp(each.at)] for each in times])


def print_schedule(info: "ScheduleInfo", *, as_json: bool, brief: bool = False) -> None:
    """All that is to be said of it; in brief without what became of its last times."""
    if as_json:
        output.print_json(to_json(info))
        return
    tally = info.tally
    output.say(f"{info.id}  ", output.styled(info.state, fg=_COLOURS.get(info.state)), f"  revision {info.revision}")
    output.say(f"{when(info.schedule)}, overlap {info.schedule.overlap}, missed {info.schedule.missed}")
    if info.message:
        output.say(info.message)
    if info.next:
        print_times(info.next)
    if brief:
        return
    output.say(
        f"fired {tally.fired:,}, skipped {tally.skipped:,}, missed {tally.missed:,}, dropped {tally.dropped:,}, "
        f"delayed {tally.delayed:,}, by hand {tally.by_hand:,}"
    )
    if info.firings:
        rows = [
            [
                output.timestamp(each.scheduled_for), each.outcome + (f" ×{each.count}" if each.count > 1 else ""),
                output.since(each.at), each.job_id, each.job_status,
            ]
            for each in info.firings
        ]  # fmt: skip
        output.print_table(_FIRING_HEAD, rows)
