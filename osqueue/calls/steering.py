"""An operator's calls: cancelling jobs, reviving dead ones, changing those that wait."""

from collections import Counter
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol, TypeVar

from osqueue.calls.base import Calls
from osqueue.calls.reading import read
from osqueue.encoding import invalid, to_bytes
from osqueue.errors import OsqueueError
from osqueue.job import JobFilter
from osqueue.messages import Change, ChangePage, NewLabels, Selection, Update
from osqueue.session import Session
from osqueue.submission import integer, labels, text, to_epoch_ms

SELECTION_ITEMS = 1_000
"""As many ids as one call takes."""


@dataclass(slots=True)
class Changes:
    """What became of the selected jobs: those changed with their status now, those refused with their error."""

    changed: list[Change] = field(default_factory=list)
    refused: dict[str, OsqueueError] = field(default_factory=dict)

    @property
    def by_status(self) -> Counter[str]:
        """How many of the changed jobs have which status now."""
        return Counter(change.status or "" for change in self.changed)


S = TypeVar("S", bound=Selection)
S_contra = TypeVar("S_contra", bound=Selection, contravariant=True)


class Select(Protocol[S_contra]):
    """A transport's call that changes one page of the selected jobs."""

    def __call__(self, asked: S_contra, /, *, timeout_ms: int) -> Awaitable[ChangePage]: ...


class SteerCalls(Calls):
    """Changing jobs from outside."""

    async def cancel_job(self, job_id: str) -> Change:
        """Cancel a job: at once while it waits; a running one's worker is asked to stop. A finished job stays as it is;
        the answer tells its status."""
        session = self._open()
        text("job_id", job_id)
        request_id = session.request_id()
        timeout_ms = self.options.timeout_ms
        return await session.change(
            lambda: session.transport.cancel_job(job_id, request_id=request_id, timeout_ms=timeout_ms)
        )

    async def cancel_jobs(
        self, job_ids: Iterable[str] = (), *, matching: JobFilter | None = None, dry_run: bool = False
    ) -> Changes:
        """Cancel these jobs, or all live ones that match. With `dry_run`, say what would happen and change nothing."""
        session = self._open()
        return await change_each(
            session, session.transport.cancel_jobs, Selection(filter=matching, dry_run=dry_run), job_ids
        )

    async def retry_jobs(
        self, job_ids: Iterable[str] = (), *, matching: JobFilter | None = None, dry_run: bool = False
    ) -> Changes:
        """Make these dead jobs, or all that match, ready again, each with a new budget of attempts."""
        session = self._open()
        return await change_each(
            session, session.transport.retry_jobs, Selection(filter=matching, dry_run=dry_run), job_ids
        )

    async def run_jobs(
        self, job_ids: Iterable[str] = (), *, matching: JobFilter | None = None, dry_run: bool = False
    ) -> Changes:
        """Let these jobs, or all that match, run now that wait for their time: delayed ones, and those that a failure
        put off. A job that waits for others waits on."""
        session = self._open()
        return await change_each(
            session, session.transport.run_jobs, Selection(filter=matching, dry_run=dry_run), job_ids
        )

    async def update_jobs(
        self,
        job_ids: Iterable[str] = (),
        *,
        matching: JobFilter | None = None,
        priority: int | None = None,
        run_at: int | datetime | None = None,
        delay_ms: int | None = None,
        metadata: Mapping[str, str] | None = None,
        dry_run: bool = False,
    ) -> Changes:
        """Change these jobs, or all that match, while they wait; what runs or has ended is refused, job by job.

        `run_at`, or `delay_ms` from now, is when they may run: a time that has passed means at once. `metadata`
        replaces all that a job has. None leaves as it is.
        """
        session = self._open()
        asked = Update(
            filter=matching,
            dry_run=dry_run,
            priority=None if priority is None else integer("priority", priority),
            run_at=None if run_at is None else to_epoch_ms("run_at", run_at),
            delay_ms=None if delay_ms is None else integer("delay_ms", delay_ms),
            labels=None if metadata is None else NewLabels(labels("metadata", metadata)),
        )
        return await change_each(session, session.transport.update_jobs, asked, job_ids)

    async def update_payload(self, job_id: str, payload: object) -> Change:
        """Give a job that waits other work, bytes or anything JSON can hold. `BrokerProtocolError` when it has begun or
        ended."""
        session = self._open()
        data = to_bytes(payload, "payload")
        if session.codecs:  # they go by the job's type
            text("job_id", job_id)
            answer = await read(
                session,
                lambda: session.transport.get_job(job_id, linearizable=False, timeout_ms=session.timeout_ms),
            )
            data = session.codecs.payload(data, answer.job.type)
        changes = await change_each(session, session.transport.update_jobs, Update(payload=data), [job_id])
        if job_id in changes.refused:
            raise changes.refused[job_id]
        return changes.changed[0]


async def change_each(session: Session, select: Select[S], asked: S, job_ids: Iterable[str]) -> Changes:
    """What became of all the jobs, by these ids or by the filter in what is asked, as many calls as that takes."""
    ids = [text("job_ids", job_id) for job_id in job_ids]
    if bool(ids) == (asked.filter is not None):
        raise invalid("job_ids", "give either ids or a filter; an empty JobFilter() selects all")
    chunks = [ids[start : start + SELECTION_ITEMS] for start in range(0, len(ids), SELECTION_ITEMS)] or [[]]
    changes = Changes()
    for chunk in chunks:
        page_token = ""
        while True:
            page = await _page(session, select, replace(asked, job_ids=chunk, page_token=page_token))
            for change in page.changes:
                if change.error is None:
                    changes.changed.append(change)
                else:
                    changes.refused[change.job_id] = change.error
            page_token = page.next_page_token
            if not page_token:
                break
    return changes


async def _page(session: Session, select: Select[S], asked: S) -> ChangePage:
    asked.request_id = session.request_id()
    return await session.change(lambda: select(asked, timeout_ms=session.timeout_ms))
