"""Which job the code runs for, wherever it is called from: for logs, traces and whatever else asks."""

import logging
from contextvars import ContextVar

from osqueue.context import JobContext

_current: "ContextVar[JobContext | None]" = ContextVar("osqueue_job", default=None)


def current_job() -> JobContext | None:
    """The context of the job whose handler calls this, in the event loop, a thread or a process; None elsewhere."""
    return _current.get()


def enter_job(context: JobContext) -> None:
    """For runners: what follows in this task, thread or process is for that job."""
    _current.set(context)


class JobLogFilter(logging.Filter):
    """Gives every record the attributes `job_id`, `job_type` and `attempt` of the job that it was logged for; "-", "-"
    and 0 outside of handlers. Add it to a handler of your logging, so that records of all loggers pass it."""

    def filter(self, record: logging.LogRecord) -> bool:
        context = _current.get()
        record.job_id = context.job_id if context is not None else "-"
        record.job_type = context.job.type if context is not None else "-"
        record.attempt = context.attempt if context is not None else 0
        return True
