"""Follow-ups from a worker: collected by the context, sent with the completion, told of when they are refused."""

import asyncio
import contextlib
import logging

import pytest

from osqueue import BrokerProtocolError, ClaimedJob, JobContext, LeaseLostError, OsqueueClient, Worker, new_job
from osqueue.handlers import Handler
from osqueue_service.testing.in_process import broker_in_process


@pytest.fixture
async def client():
    async with broker_in_process() as app, OsqueueClient(f"grpc://{app.address}") as client:
        yield client


def context() -> JobContext:
    return JobContext(ClaimedJob("id", "w", b"{}"), lambda progress: None)


def test_a_handler_is_told_which_time_of_its_schedule_the_job_is_for():
    job = ClaimedJob("id", "w", b"{}", schedule_id="daily", scheduled_for=1_700_000_000_000)
    assert JobContext(job, lambda progress: None).scheduled_for == 1_700_000_000_000
    assert context().scheduled_for == 0


def in_a_process(payload, context):
    context.follow_up("b", payload + 1, priority=4)
    return payload


async def in_the_loop(payload, context):
    return in_a_process(payload, context)


@pytest.mark.parametrize("runs_in", ["loop", "thread", "process"])
async def test_a_handler_is_followed_by_what_it_asked_for(client, runs_in):
    function = in_the_loop if runs_in == "loop" else in_a_process
    handle = await client.submit_job("a", 1)
    await Worker(client, {"a": Handler(function, runs_in=runs_in)}).run(until_idle=True)
    (child_id,) = (await handle.job()).follow_ups
    child = await client.get_job(child_id)
    assert (child.type, child.value(), child.priority) == ("b", 2, 4)
    assert (child.came_from.job_id, child.came_from.kind) == (handle.id, "follow_up")


async def test_a_handler_that_fails_is_followed_by_nothing(client):
    async def failing(payload, context):
        context.follow_up("b", 1)
        raise ValueError

    await client.submit_job("a", 1, max_attempts=1)
    await Worker(client, {"a": failing}).run(until_idle=True)
    assert (await client.get_stats()).counts.submitted_total == 1


async def test_what_is_wrong_with_a_follow_up_is_raised_where_it_is_asked_for():
    with pytest.raises(BrokerProtocolError, match="payload"):
        context().follow_up("b", object())
    with pytest.raises(TypeError, match="there is no option 'colour'"):
        context().follow_up("b", 1, colour="red")  # type: ignore[call-overload]


async def test_a_job_may_have_a_hundred_follow_ups():
    asked = context()
    for number in range(100):
        asked.follow_up("b", number)
    with pytest.raises(BrokerProtocolError, match="100"):
        asked.follow_up("b", 100)
    assert len(asked.follow_ups) == 100


async def test_follow_ups_of_a_cancelled_job_are_withheld_and_the_worker_says_so(client, caplog):
    async def cancelled_meanwhile(payload, context):
        with contextlib.suppress(asyncio.CancelledError):  # its worker may hear of it before it does
            await client.cancel_job(context.job_id)
        context.follow_up("b", 1)

    await client.submit_job("a", 1)
    with caplog.at_level(logging.WARNING, "osqueue.worker"):
        await Worker(client, {"a": cancelled_meanwhile}).run(until_idle=True)
    assert "its 1 follow-ups were not submitted" in caplog.text
    assert (await client.get_stats()).counts.submitted_total == 1


async def test_a_refused_follow_up_is_logged(client, caplog):
    async def conflicting(payload, context):
        context.follow_up("b", payload, idempotency_key="k")

    await client.submit_jobs([new_job("a", 1), new_job("a", 2)])
    with caplog.at_level(logging.ERROR, "osqueue.worker"):
        await Worker(client, {"a": conflicting}).run(until_idle=True)
    assert "its follow-up of the type 'b' was not submitted" in caplog.text


async def test_without_a_worker_the_answer_says_what_became_of_each(client):
    await client.submit_job("a", 1)
    job = await client.claim_job("w")
    follow_ups = [new_job("b", 1, idempotency_key="k"), new_job("b", 1, idempotency_key="k")]
    done = await client.complete_job(job, follow_ups=follow_ups)
    first, second = done.follow_ups
    assert (second.job_id, second.deduplicated) == (first.job_id, True)
    assert await client.complete_job(job, follow_ups=follow_ups) == done


async def test_completions_without_any_are_answered_with_none(client):
    await client.submit_job("a", 1)
    job = await client.claim_job("w")
    assert await client.complete_job(job) == ([], False)


async def test_a_late_completion_raises(client):
    await client.submit_job("a", 1)
    job = await client.claim_job("w")
    await client.release_job(job)
    with pytest.raises(LeaseLostError):
        await client.complete_job(job, follow_ups=[new_job("b", 1)])


@pytest.mark.parametrize("option", [{"delay_ms": 5}, {"idempotency_key": "k"}, {"submit_on_dead": new_job("c", 1)}])
async def test_a_template_is_refused_what_it_cannot_have(option):
    with pytest.raises(BrokerProtocolError, match=f"submit_on_dead.{next(iter(option))}"):
        new_job("a", 1, submit_on_dead=new_job("b", 1, **option))
    with pytest.raises(BrokerProtocolError, match="must be a JobSpec"):
        new_job("a", 1, submit_on_dead="b")  # type: ignore[arg-type]
