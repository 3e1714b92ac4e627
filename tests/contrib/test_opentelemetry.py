"""Traces: what spans there are, what they say, how they hang together, and that nothing needs them."""

import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from osqueue import JobContext, JobSpec, OsqueueClient, RetryPolicy, Worker, new_job
from osqueue.contrib.opentelemetry import TraceIds, Tracing
from osqueue_service.testing.in_process import broker_in_process


class Traced:
    """A queue whose callers are traced."""

    def __init__(self, client: OsqueueClient, sampler: Any = None) -> None:
        self.client = client
        self.spans = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler) if sampler else TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.tracing = Tracing(self.provider)
        client.use(self.tracing.sends)

    async def send(self, *jobs: JobSpec) -> list[Any]:
        return await self.client.submit_jobs(jobs)

    async def work(self, handler: Any) -> None:
        """Until nothing is ready; jobs that fail are tried again at once."""
        worker = Worker(self.client, {"email": handler}, guarded=False, worker_id="w")
        worker.use(self.tracing.processes)
        await worker.run(until_idle=True, handle_signals=False)

    def golden(self) -> list[dict[str, Any]]:
        """The spans, oldest first, with what differs from run to run by name."""
        return [_shown(span) for span in sorted(self.spans.get_finished_spans(), key=lambda span: span.start_time or 0)]


def _shown(span: ReadableSpan) -> dict[str, Any]:
    attributes = dict(span.attributes or {})
    if "messaging.message.id" in attributes:
        attributes["messaging.message.id"] = "JOB"
    return {
        "name": span.name,
        "kind": span.kind.name,
        "status": span.status.status_code.name,
        "parent": span.parent is not None,
        "links": len(span.links),
        "attributes": attributes,
    }


@pytest.fixture
async def traced() -> AsyncIterator[Traced]:
    async with broker_in_process() as app, OsqueueClient(app.address) as client:
        yield Traced(client)


SEND = {
    "messaging.system": "osqueue",
    "messaging.operation.name": "send",
    "messaging.operation.type": "send",
    "messaging.destination.name": "email",
}
PROCESS = {
    "messaging.system": "osqueue",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "messaging.destination.name": "email",
    "messaging.message.id": "JOB",
    "messaging.message.body.size": 2,
}


async def test_spans_are_those_of_the_messaging_conventions(traced: Traced) -> None:
    failing = [True]

    async def handler(payload: Any) -> None:
        if failing.pop():
            failing.append(False)
            raise ValueError("no")

    await traced.send(new_job("email", {}, max_attempts=2, retry_policy=RetryPolicy(initial_ms=1)))
    await traced.work(handler)
    spans = traced.golden()
    assert spans[0] == {
        "name": "send email",
        "kind": "PRODUCER",
        "status": "UNSET",
        "parent": False,
        "links": 0,
        "attributes": {**SEND, "messaging.message.body.size": 2, "messaging.message.id": "JOB"},
    }
    assert spans[1] == {
        "name": "process email",
        "kind": "CONSUMER",
        "status": "ERROR",
        "parent": False,
        "links": 1,
        "attributes": {**PROCESS, "osqueue.job.attempt": 1, "error.type": "ValueError"},
    }


async def test_an_attempt_links_to_who_sent_it_and_is_a_trace_of_its_own(traced: Traced) -> None:
    tracer = traced.provider.get_tracer("test")
    with tracer.start_as_current_span("request"):
        await traced.send(new_job("email", {}))

    async def handler(payload: Any) -> None: ...

    with tracer.start_as_current_span("the worker's own"):
        await traced.work(handler)
    spans = {span.name: span for span in traced.spans.get_finished_spans()}
    send, process = spans["send email"], spans["process email"]
    assert send.context and process.context and send.parent and spans["request"].context
    assert send.parent.span_id == spans["request"].context.span_id
    (link,) = process.links
    assert (link.context.trace_id, link.context.span_id) == (send.context.trace_id, send.context.span_id)
    assert process.context.trace_id not in (send.context.trace_id, spans["the worker's own"].context.trace_id)  # type: ignore[union-attr]


async def test_a_batch_is_one_span_and_each_job_carries_its_context(traced: Traced) -> None:
    own = {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01", "tenant": "acme"}
    first, second = await traced.send(new_job("email", {}), new_job("email", {}, metadata=own))
    (span,) = traced.golden()
    assert span["attributes"] == {**SEND, "messaging.batch.message_count": 2}
    (sent,) = traced.spans.get_finished_spans()
    assert sent.context
    job = await traced.client.get_job(first.id)
    ids = f"{sent.context.trace_id:032x}-{sent.context.span_id:016x}"
    assert job.metadata == {"traceparent": f"00-{ids}-{sent.context.trace_flags:02x}"}
    assert (await traced.client.get_job(second.id)).metadata == own, "who knows better is not overruled"


async def test_what_is_not_sampled_is_still_known_to_be_one_trace() -> None:
    async with broker_in_process() as app, OsqueueClient(app.address) as client:
        traced = Traced(client, ALWAYS_OFF)
        (handle,) = await traced.send(new_job("email", {}))
        flags = (await client.get_job(handle.id)).metadata["traceparent"].rpartition("-")[2]
        assert not int(flags, 16) & 1
        assert not traced.golden()


@pytest.mark.parametrize("context", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
async def test_a_malformed_context_is_as_good_as_none(traced: Traced, context: str) -> None:
    await traced.client.submit_job("email", {}, metadata={"traceparent": context})
    traced.spans.clear()

    async def handler(payload: Any) -> None: ...

    await traced.work(handler)
    (span,) = traced.golden()
    assert (span["name"], span["links"], span["status"]) == ("process email", 0, "UNSET")


async def test_log_records_carry_the_ids_of_the_trace(traced: Traced) -> None:
    records: list[logging.LogRecord] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    keeps = Kept()
    keeps.addFilter(TraceIds())
    logger = logging.getLogger("osqueue.job")
    logger.addHandler(keeps)
    try:

        async def handler(payload: Any, context: JobContext) -> None:
            context.logger.warning("inside")

        await traced.client.submit_job("email", {})
        traced.spans.clear()
        await traced.work(handler)
        logger.warning("outside")
    finally:
        logger.removeHandler(keeps)
    (span,) = traced.spans.get_finished_spans()
    assert span.context
    inside, outside = records
    assert inside.__dict__["trace_id"] == trace.format_trace_id(span.context.trace_id)
    assert inside.__dict__["span_id"] == trace.format_span_id(span.context.span_id)
    assert outside.__dict__["trace_id"] == ""


@pytest.mark.parametrize("missing", ["opentelemetry", "opentelemetry.sdk"])
def test_without_opentelemetry_everything_goes_on(missing: str) -> None:
    program = (
        f"MISSING = {missing!r}\n"
        + """
import sys, asyncio, logging
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == MISSING or name.startswith(MISSING + "."):
            raise ImportError(name)
sys.meta_path.insert(0, Missing())
from osqueue import new_job, Worker
from osqueue.contrib.opentelemetry import INSTALLED, TraceIds, Tracing
assert INSTALLED is (MISSING != "opentelemetry")
from osqueue_testing import FakeQueue
"""
    )
    program = (
        program.replace("from osqueue_testing import FakeQueue\n", "")
        + """
jobs = [new_job("email", {})]
async def proceed():
    return ["handle"]
assert asyncio.run(Tracing().sends(jobs, proceed)) == ["handle"]
assert not jobs[0].metadata
class Context:
    attempt = 1
    class job:
        job_id, type, payload, metadata = "j", "email", b"", {}
assert asyncio.run(Tracing().processes(Context, proceed)) == ["handle"]
record = logging.makeLogRecord({})
assert TraceIds().filter(record) and record.trace_id == ""
"""
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
