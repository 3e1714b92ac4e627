"""Jobs that are submitted when their time comes: `client.schedules`."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol, TypedDict, TypeVar, Unpack

from osqueue.calls.reading import read
from osqueue.job import JobSpec, Position
from osqueue.messages import Question
from osqueue.schedule_messages import (
    BackfilledJob,
    BackfillScheduleRequest,
    DeleteScheduleRequest,
    GetScheduleRequest,
    ListSchedulesRequest,
    PauseScheduleRequest,
    PreviewScheduleRequest,
    PutScheduleRequest,
    ResumeScheduleRequest,
    Schedule,
    ScheduledTime,
    ScheduleInfo,
    TriggerScheduleRequest,
)
from osqueue.session import Session
from osqueue.submission import checked, integer, text, to_epoch_ms


class _Change(Protocol):
    @property
    def commit(self) -> Position | None: ...


C = TypeVar("C", bound=_Change)

Overlap = Literal["skip", "allow_all", "buffer_one", "buffer_all", "cancel_other"]
Missed = Literal["latest", "all", "none"]
ScheduleState = Literal["active", "paused", "ended", "broken"]


class ScheduleOptions(TypedDict, total=False):
    """When a schedule fires and what it does then; absent means the broker's default. Either `cron` or `every_ms`."""

    cron: str
    """Five fields, as in "0 9 * * MON-FRI", or a name such as "@daily"."""
    time_zone: str
    """In which `cron` is read: a name of the IANA database, default "UTC"."""
    dst_gap: Literal["after", "skip"]
    """A time that the clocks leave out fires right after the gap, or not."""
    dst_repeat: Literal["first", "second", "both"]
    """A time that the clocks show twice fires then."""
    every_ms: int
    """An interval of physical time, 1 s to 365 days."""
    anchor_at: datetime | int
    """The intervals are counted from this moment, default 1970-01-01 UTC."""
    jitter_ms: int
    """Each time is put off by less than this."""
    start_at: datetime | int
    """No time before this."""
    end_at: datetime | int
    """No time after this."""
    max_fires: int
    """How many times fire."""
    overlap: Overlap
    """What a time does while the last job has not ended, default "skip"."""
    missed: Missed
    """Which of several times fire that are due together, default "latest"."""
    catchup_window_ms: int
    """A time that is older than this when it is decided is missed."""
    pause_after_dead: int
    """How many of its jobs must die one after the other to pause it."""


class Schedules:
    """Schedules, over whatever transport the client has.

        report = new_job("report", {"of": "sales"})
        await client.schedules.put("nightly", report, cron="0 2 * * *", time_zone="Europe/Berlin")
        async for schedule in client.schedules.list():
            print(schedule.id, schedule.next[0].local)

    Each time of a schedule makes one job, whatever happens to brokers meanwhile; the job tells `scheduled_for`. Errors
    are those of all calls, and `ScheduleNotFoundError` for an id that no schedule has.
    """

    def __init__(self, open_session: Callable[[], Session]) -> None:
        self._open_session = open_session

    async def put(
        self, schedule_id: str, job: JobSpec[Any], *, revision: int | None = None, **options: Unpack[ScheduleOptions]
    ) -> ScheduleInfo:
        """Make a schedule of jobs like this one, made with `new_job`, or let one be different; the answer tells its
        next five times.

        Other times begin now and never fire at once; another job leaves the next time as it was; whether it is paused
        stays as it is. With `revision` only if it has that one, 0 if there is none: else `RevisionConflictError`.
        """
        schedule = Schedule(text("schedule_id", schedule_id), job, **checked(options, ScheduleOptions))
        encoded = self._open_session().codecs.schedule(schedule)
        answer = await self._change(PutScheduleRequest(encoded, _optional("revision", revision)))
        return self._decoded(answer.schedule)

    async def get(self, schedule_id: str) -> ScheduleInfo:
        """One schedule: when it fires next, what became of its last times, and why it does not fire."""
        session = self._open_session()
        request = GetScheduleRequest(text("schedule_id", schedule_id))
        timeout_ms = session.timeout_ms
        answer = await read(session, lambda: session.transport.ask(request, timeout_ms=timeout_ms))
        return self._decoded(answer.schedule)

    async def list(self, *, prefix: str = "", states: Iterable[ScheduleState] = ()) -> AsyncIterator[ScheduleInfo]:
        """The schedules whose id begins with `prefix`, in the order of their ids, without payloads and firings."""
        session = self._open_session()
        request = ListSchedulesRequest(text("prefix", prefix), [text("states", state) for state in states])
        timeout_ms = session.timeout_ms
        while True:
            page = await read(session, lambda: session.transport.ask(request, timeout_ms=timeout_ms))
            for schedule in page.schedules:
                yield schedule
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def delete(self, schedule_id: str) -> bool:
        """Remove a schedule; its jobs stay. Whether there was one: after an outage False may mean that it went then."""
        answer = await self._change(DeleteScheduleRequest(text("schedule_id", schedule_id)))
        return answer.deleted

    async def pause(self, schedule_id: str, reason: str = "") -> ScheduleInfo:
        """Let it not fire until it is resumed."""
        answer = await self._change(PauseScheduleRequest(text("schedule_id", schedule_id), text("reason", reason)))
        return self._decoded(answer.schedule)

    async def resume(self, schedule_id: str) -> ScheduleInfo:
        """Let it fire again from now on: times that passed while it was paused are not missed."""
        answer = await self._change(ResumeScheduleRequest(text("schedule_id", schedule_id)))
        return self._decoded(answer.schedule)

    async def trigger(self, schedule_id: str) -> str:
        """Submit a job of it now, whatever its times and its last job, paused or not; the job's id."""
        request_id = self._open_session().request_id()
        answer = await self._change(TriggerScheduleRequest(text("schedule_id", schedule_id), request_id))
        return answer.job_id

    async def backfill(
        self, schedule_id: str, first_at: datetime | int, end_at: datetime | int
    ) -> Sequence[BackfilledJob]:
        """Submit a job for each of its times from `first_at` to before `end_at`, at most 1,000, whatever became of them
        before."""
        request_id = self._open_session().request_id()
        span = to_epoch_ms("first_at", first_at), to_epoch_ms("end_at", end_at)
        answer = await self._change(BackfillScheduleRequest(text("schedule_id", schedule_id), *span, request_id))
        return answer.jobs

    async def preview(
        self,
        schedule_id: str = "",
        *,
        after: datetime | int = 0,
        count: int = 0,
        **options: Unpack[ScheduleOptions],
    ) -> Sequence[ScheduledTime]:
        """When a schedule would fire next: one that is there, or one with these options. `count`: at most 100, 0: 5."""
        session = self._open_session()
        schedule = Schedule("", **checked(options, ScheduleOptions)) if options else None
        request = PreviewScheduleRequest(
            schedule, text("schedule_id", schedule_id), to_epoch_ms("after", after), integer("count", count)
        )
        timeout_ms = session.timeout_ms
        answer = await session.run(lambda: session.transport.ask(request, timeout_ms=timeout_ms))
        return answer.times

    def _decoded(self, info: ScheduleInfo) -> ScheduleInfo:
        self._open_session().codecs.stored_schedule(info.schedule)
        return info

    async def _change(self, question: Question[C]) -> C:
        """Every change may be asked for again: it happens once."""
        session = self._open_session()
        timeout_ms = session.timeout_ms
        return await session.change(lambda: session.transport.ask(question, timeout_ms=timeout_ms))


def _optional(field: str, value: int | None) -> int | None:
    return None if value is None else integer(field, value)
