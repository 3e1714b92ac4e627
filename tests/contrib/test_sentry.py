"""Failures in Sentry, as its own SDK sends them."""

import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

sentry_sdk = pytest.importorskip("sentry_sdk", reason="sentry-sdk is not installed: pip install sentry-sdk")

from sentry_sdk.transport import Transport  # noqa: E402

from osqueue import ConfigError, OsqueueClient, RateLimited, Reject, Retry, Worker  # noqa: E402
from osqueue.contrib.sentry import attach  # noqa: E402
from osqueue_service.testing.in_process import BrokerThread  # noqa: E402


class Sent(Transport):
    """What would have gone to Sentry."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[tuple[str, dict[str, Any]]] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.items += [(item.type, item.payload.json) for item in envelope.items]

    def of(self, kind: str) -> list[dict[str, Any]]:
        sentry_sdk.flush()
        return [payload for each, payload in self.items if each == kind]


@pytest.fixture
def sent() -> Iterator[Sent]:
    transport = Sent()
    with sentry_sdk.isolation_scope():
        sentry_sdk.init(
            dsn="https://key@sentry.invalid/1", transport=transport, traces_sample_rate=1.0, default_integrations=False
        )
        yield transport
        sentry_sdk.get_global_scope().set_client(None)


@pytest.fixture
async def client(broker: BrokerThread) -> AsyncIterator[OsqueueClient]:
    async with OsqueueClient(f"grpc://{broker.address}") as client:
        yield client


async def work(client: OsqueueClient, handler: Any, kind: str, **options: Any) -> None:
    worker = Worker(client, {kind: handler}, guarded=False)
    attach(worker, **options)
    await client.submit_job(kind, {"secret": "s3cret"}, max_attempts=2)
    await worker.run(until_idle=True, handle_signals=False)


@pytest.mark.parametrize("place", ["loop", "thread"])
async def test_a_failure_is_reported_with_its_job(client: OsqueueClient, sent: Sent, place: str) -> None:
    async def loop(payload: object) -> None:
        raise ValueError("broken")

    def thread(payload: object) -> None:
        raise ValueError("broken")

    await work(client, loop if place == "loop" else thread, f"fails-{place}")
    first, second = sent.of("event")
    assert [first["tags"]["attempt"], second["tags"]["attempt"]] == ["1", "2"] or [
        first["tags"]["attempt"], second["tags"]["attempt"]
    ] == [1, 2]  # fmt: skip
    assert first["tags"]["job_type"] == f"fails-{place}"
    assert first["tags"]["job_id"] == second["tags"]["job_id"]
    (raised,) = first["exception"]["values"]
    assert (raised["type"], raised["value"]) == ("ValueError", "broken")
    assert raised["mechanism"] == {"type": "osqueue", "handled": False}
    assert raised["stacktrace"]["frames"][-1]["function"] == place
    assert "broken" not in str(first["tags"])


async def test_only_what_is_not_tried_again(client: OsqueueClient, sent: Sent) -> None:
    async def fail(payload: object) -> None:
        raise ValueError("broken")

    await work(client, fail, "last", last_attempt_only=True)
    assert len(sent.of("event")) == 1


@pytest.mark.parametrize("error", [Retry("later"), RateLimited(limit="x", retry_after_ms=1)], ids=["retry", "limit"])
async def test_what_is_expected_is_not_reported(client: OsqueueClient, sent: Sent, error: Exception) -> None:
    async def expected(payload: object) -> None:
        raise error

    await work(client, expected, f"expected-{type(error).__name__}")
    assert sent.of("event") == []


async def test_a_job_that_is_rejected_is_reported(client: OsqueueClient, sent: Sent) -> None:
    async def reject(payload: object) -> None:
        raise Reject("no such customer")

    await work(client, reject, "rejected")
    assert len(sent.of("event")) == 1


async def test_a_job_goes_on_with_the_trace_that_submitted_it(client: OsqueueClient, sent: Sent) -> None:
    async def fine(payload: object) -> None: ...

    with sentry_sdk.start_transaction(op="http.server", name="order"):
        trace_id = sentry_sdk.get_current_span().trace_id
        await work(client, fine, "traced")
    by_name = {each["transaction"]: each for each in sent.of("transaction")}
    assert by_name["traced"]["contexts"]["trace"]["trace_id"] == trace_id
    assert by_name["traced"]["contexts"]["trace"]["op"] == "queue.process"
    assert {"sentry-trace", "baggage"} <= set(
        (await anext(client.list_jobs(statuses=["completed"], types=["traced"]))).metadata
    )
    assert ("queue.publish", "traced") in [(span["op"], span["description"]) for span in by_name["order"]["spans"]]


async def test_a_trace_is_no_reason_to_refuse_a_job(client: OsqueueClient, sent: Sent) -> None:
    async def fine(payload: object) -> None: ...

    with sentry_sdk.start_transaction(name="order" * 2_000):
        await work(client, fine, "long")
    job = await anext(client.list_jobs(statuses=["completed"], types=["long"]))
    assert set(job.metadata) == {"sentry-trace"}


async def test_what_a_caller_labels_stays(client: OsqueueClient, sent: Sent) -> None:
    worker = Worker(client)
    attach(worker)
    job = await client.submit_job("labelled", 1, metadata={"baggage": "mine"})
    assert (await job.job()).metadata["baggage"] == "mine"


async def test_jobs_do_not_share_their_tags(client: OsqueueClient, sent: Sent) -> None:
    async def tags(payload: object) -> None:
        sentry_sdk.set_tag("customer", "ada")

    await work(client, tags, "tagged")
    sentry_sdk.capture_message("outside")
    (outside,) = sent.of("event")
    assert "customer" not in outside.get("tags", {})


def test_without_the_sdk_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    monkeypatch.delitem(sys.modules, "osqueue.contrib.sentry")
    with pytest.raises(ConfigError, match=r"pip install 'osqueue\[sentry\]'"):
        __import__("osqueue.contrib.sentry")
