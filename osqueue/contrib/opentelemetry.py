"""Traces by OpenTelemetry: who submitted a job, and what became of each attempt.

    from osqueue.contrib.opentelemetry import Tracing

    tracing = Tracing()
    client.use(tracing.sends)
    worker.use(tracing.processes)
    logging.getLogger().handlers[0].addFilter(TraceIds())

A span `send TYPE` surrounds each submission, and its context travels in the jobs' metadata, as `traceparent` and
`tracestate` (W3C Trace Context). A span `process TYPE` surrounds each attempt. It begins a trace of its own and
*links* to the sender's, because a job may run days later, and several times. Attributes are those of OpenTelemetry's
conventions for messaging.

Needs `osqueue[otel]`, which is the API alone; what is recorded, and where it goes, is the business of the SDK that the
program sets up. Without either everything here does nothing, so that a library may use it unconditionally.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from osqueue.context import JobContext
from osqueue.job import JobSpec
from osqueue.middleware import Proceed

try:
    from opentelemetry import propagate, trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:  # pragma: no cover - tried in a process of its own
    INSTALLED = False
else:
    INSTALLED = True

SYSTEM = "osqueue"
CONTEXT_KEYS = ("traceparent", "tracestate")
CONTEXT_CHARS_MAX = 512
"""Of a value that travels with a job: a longer `tracestate` stays behind, as its specification allows."""

ANY = "(any)"
"""The name of the type that has none."""

Submit = Callable[[], Awaitable[list[Any]]]


class Tracing:
    """Middleware for clients and workers. `provider` makes the spans; None: the program's own."""

    def __init__(self, provider: Any = None) -> None:
        if INSTALLED:
            self._tracer = trace.get_tracer("osqueue", tracer_provider=provider)

    async def sends(self, jobs: list[JobSpec], proceed: Submit) -> list[Any]:
        """Middleware for `client.use`: a span for each call, whose context goes into the metadata of its jobs."""
        if not INSTALLED or not jobs:
            return await proceed()
        attributes = _sending(jobs)
        name = f"send {attributes['messaging.destination.name']}"
        with self._tracer.start_as_current_span(name, kind=trace.SpanKind.PRODUCER, attributes=attributes) as span:
            carried = _context_now()
            if carried:
                for job in jobs:
                    if not job.metadata or "traceparent" not in job.metadata:
                        job.metadata = {**(job.metadata or {}), **carried}
            handles = await proceed()
            if len(jobs) == 1 and (job_id := getattr(handles[0], "id", "")):
                span.set_attribute("messaging.message.id", job_id)
            return handles

    async def processes(self, context: JobContext, proceed: Proceed) -> Any:
        """Middleware for `worker.use`: a span for each attempt."""
        if not INSTALLED:
            return await proceed()
        name = f"process {context.job.type or ANY}"
        with self._tracer.start_as_current_span(
            name,
            # A trace of its own: whatever the worker does at the time is not what this comes of.
            context=trace.set_span_in_context(trace.INVALID_SPAN),
            kind=trace.SpanKind.CONSUMER,
            attributes=_processing(context),
            links=_links(context.job.metadata or {}),
            set_status_on_exception=False,
        ) as span:
            try:
                return await proceed()
            except Exception as error:
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(trace.Status(trace.StatusCode.ERROR, str(error)[:CONTEXT_CHARS_MAX]))
                raise


class TraceIds(logging.Filter):
    """Gives each record `trace_id` and `span_id`, in hexadecimal; "" outside of a span. Holds nothing back."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.trace_id = record.span_id = ""
        if INSTALLED and (current := trace.get_current_span().get_span_context()).is_valid:
            record.trace_id = trace.format_trace_id(current.trace_id)
            record.span_id = trace.format_span_id(current.span_id)
        return True


def _sending(jobs: Sequence[JobSpec]) -> dict[str, Any]:
    types = {job.type or ANY for job in jobs}
    attributes: dict[str, Any] = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": types.pop() if len(types) == 1 else "(several)",
    }
    if len(jobs) > 1:
        attributes["messaging.batch.message_count"] = len(jobs)
    else:
        attributes["messaging.message.body.size"] = len(jobs[0].payload)
    return attributes


def _processing(context: JobContext) -> dict[str, Any]:
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": context.job.type or ANY,
        "messaging.message.id": context.job.job_id,
        "messaging.message.body.size": len(context.job.payload),
        "osqueue.job.attempt": context.attempt,
    }


def _context_now() -> dict[str, str]:
    """Where we are, as the program's propagator writes it; only what other parties read, too."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return {key: carrier[key] for key in CONTEXT_KEYS if 0 < len(carrier.get(key, "")) <= CONTEXT_CHARS_MAX}


def _links(metadata: Mapping[str, str]) -> list[Any]:
    """The sender's span, if the job tells of one. What is malformed is as good as absent."""
    carried = {key: metadata[key] for key in CONTEXT_KEYS if key in metadata}
    sender = TraceContextTextMapPropagator().extract(carried)
    found = trace.get_current_span(sender).get_span_context()
    return [trace.Link(found)] if found.is_valid else []
