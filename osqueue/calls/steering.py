"""An operator's calls: cancelling jobs and reviving dead ones."""

from collections import Counter
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from osqueue.calls.base import Calls
from osqueue.encoding import invalid
from osqueue.errors import OsqueueError
from osqueue.job import JobFilter
from osqueue.messages import Change, ChangePage, Selection
from osqueue.session import Session
from osqueue.submission import text

SELECTION_ITEMS = 1_000
"""As many ids as one CancelJobs, RetryJobs or Purge takes."""


@dataclass(slots=True)
class Changes:
    """What became of the selected jobs: those changed with their status now, those refused with their error."""

    changed: list[Change] = field(default_factory=list)
    refused: dict[str, OsqueueError] = field(default_factory=dict)

    @property
    def by_status(self) -> Counter[str]:
        """How many of the changed jobs have which status now."""
        return Counter(change.status or "" for change in self.changed)


class Select(Protocol):
    """A transport's call that changes one page of the selected jobs."""

    def __call__(self, selection: Selection, *, timeout_ms: int) -> Awaitable[ChangePage]: ...


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
        return await change_each(session, session.transport.cancel_jobs, job_ids, matching, dry_run)

    async def retry_jobs(
        self, job_ids: Iterable[str] = (), *, matching: JobFilter | None = None, dry_run: bool = False
    ) -> Changes:
        """Make these dead jobs, or all that match, ready again, each with a new budget of attempts."""
        session = self._open()
        return await change_each(session, session.transport.retry_jobs, job_ids, matching, dry_run)


async def change_each(
    session: Session, select: Select, job_ids: Iterable[str], matching: JobFilter | None, dry_run: bool
) -> Changes:
    """What became of all the jobs, by ids or by filter, as many calls as that takes."""
    ids = [text("job_ids", job_id) for job_id in job_ids]
    if bool(ids) == (matching is not None):
        raise invalid("job_ids", "give either ids or a filter; an empty JobFilter() selects all")
    chunks = [ids[start : start + SELECTION_ITEMS] for start in range(0, len(ids), SELECTION_ITEMS)] or [[]]
    changes = Changes()
    for chunk in chunks:
        page_token = ""
        while True:
            page = await _page(session, select, Selection(chunk, matching, dry_run, page_token))
            for change in page.changes:
                if change.error is None:
                    changes.changed.append(change)
                else:
                    changes.refused[change.job_id] = change.error
            page_token = page.next_page_token
            if not page_token:
                break
    return changes


async def _page(session: Session, select: Select, selection: Selection) -> ChangePage:
    selection.request_id = session.request_id()
    return await session.change(lambda: select(selection, timeout_ms=session.timeout_ms))
