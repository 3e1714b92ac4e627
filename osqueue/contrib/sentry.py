"""Failures of jobs in Sentry, with the job they happened to and the request that submitted it.

    sentry_sdk.init(dsn=..., traces_sample_rate=0.1)
    attach(worker)

Each attempt has a scope and a transaction of its own, named like the job's type and tagged with `job_id` and `attempt`.
What its handler raises is reported, but for `Retry` and `RateLimited`, which say that all is as expected, and for
handlers that are stopped. Jobs that the worker's client submits carry the trace along in their labels `sentry-trace`
and `baggage`; elsewhere `client.use(around_submissions)` does that. Nothing of a payload is added to a report, but it
may be among the local variables that Sentry shows, unless `include_local_variables` is off.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from osqueue.context import JobContext
from osqueue.errors import ConfigError, OsqueueError
from osqueue.failures import RateLimited, Retry
from osqueue.handle import JobHandle
from osqueue.job import JobSpec
from osqueue.middleware import AsyncMiddleware, Proceed

if TYPE_CHECKING:
    from osqueue.worker import Worker

try:
    import sentry_sdk
    from sentry_sdk.utils import event_from_exception
except ImportError as error:
    raise ConfigError("sentry-sdk is not installed: pip install 'osqueue[sentry]'") from error

EXPECTED = (Retry, RateLimited, asyncio.CancelledError)
"""What says something to the queue, and is not a failure to tell people of."""

TRACE_LABELS = ("sentry-trace", "baggage")

BAGGAGE_CHARS = 1_024
"""More than that is left out: labels have limits, and a job is not refused for its trace."""


def attach(worker: "Worker", *, last_attempt_only: bool = False) -> None:
    """Report failures of the worker's jobs, and follow those that its client submits.

    `last_attempt_only`: what will be tried again is not reported.
    """
    worker.use(around_jobs(last_attempt_only=last_attempt_only))
    worker.client.use(around_submissions)


def around_jobs(*, last_attempt_only: bool = False) -> AsyncMiddleware:
    """Middleware for `worker.use`: the scope, the transaction and the report of each attempt."""

    async def around_job(context: JobContext, proceed: Proceed) -> Any:
        with sentry_sdk.isolation_scope() as scope:
            scope.clear_breadcrumbs()
            scope.set_tag("job_id", context.job_id)
            scope.set_tag("job_type", context.job.type)
            scope.set_tag("attempt", context.attempt)
            labels = context.job.metadata
            transaction = sentry_sdk.continue_trace(
                {name: labels[name] for name in TRACE_LABELS if name in labels},
                op="queue.process",
                name=context.job.type,
                source="task",
            )
            with sentry_sdk.start_transaction(transaction):
                try:
                    return await proceed()
                except EXPECTED:
                    raise
                except BaseException as error:
                    if context.is_last_attempt or not last_attempt_only:
                        _report(error)
                    raise

    return around_job


async def around_submissions(
    jobs: list[JobSpec], proceed: Callable[[], Awaitable[list[JobHandle[Any] | OsqueueError]]]
) -> list[JobHandle[Any] | OsqueueError]:
    """Middleware for `client.use`: a span for the call, and the trace in the jobs' labels."""
    with sentry_sdk.start_span(op="queue.publish", name=_types(jobs)):
        scope = sentry_sdk.get_current_scope()
        trace = dict(zip(TRACE_LABELS, (scope.get_traceparent(), _baggage(scope)), strict=True))
        for job in jobs:
            job.metadata = {**{name: said for name, said in trace.items() if said}, **(job.metadata or {})}
        return await proceed()


def _baggage(scope: "sentry_sdk.Scope") -> str:
    baggage = scope.get_baggage()
    text = baggage.serialize() if baggage is not None else ""
    return text if len(text) <= BAGGAGE_CHARS else ""


def _types(jobs: Sequence[JobSpec]) -> str:
    return ", ".join(sorted({job.type for job in jobs}))


def _report(error: BaseException) -> None:
    event, hint = event_from_exception(
        (type(error), error, error.__traceback__),
        client_options=sentry_sdk.get_client().options,
        mechanism={"type": "osqueue", "handled": False},
    )
    sentry_sdk.capture_event(event, hint=hint)
