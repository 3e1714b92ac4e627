"""Tasks, what runs around handlers, and the job that code runs for."""

import asyncio
import logging
import threading
from contextlib import contextmanager

import pytest
from pydantic import BaseModel

from osqueue import ConfigError, JobContext, JobLogFilter, OsqueueClient, Registry, Worker, current_job
from tests.unit.sdk.jobs_in_processes import Doubling
from tests.unit.sdk.memory_transport import MemoryTransport


class Email(BaseModel):
    to: str


async def run(worker):
    await worker.run(until_idle=True, handle_signals=False)


# --- tasks ------------------------------------------------------------------------------------------------------------


async def test_a_task_is_a_function_and_submits_itself(client):
    worker = Worker(client)

    @worker.task("email")
    async def send(payload: Email) -> str:
        """Send it."""
        return payload.to.upper()

    assert await send(Email(to="ada")) == "ADA"
    assert (send.name, send.__doc__, send.__name__) == ("email", "Send it.", "send")
    handle = await send.submit(Email(to="bob"), priority=3)
    await run(worker)
    assert await handle.result() == "BOB"
    assert (await handle.job()).priority == 3


@pytest.mark.parametrize("parentheses", ["without", "empty"])
async def test_a_task_without_a_name_is_called_like_its_function(client, parentheses):
    worker = Worker(client)

    def double(payload: int, context: JobContext) -> int:
        return 2 * payload + context.attempt

    task = worker.task(double) if parentheses == "without" else worker.task()(double)
    handle = await task.submit(4)
    await run(worker)
    assert (task.name, await handle.result()) == ("double", 9)


async def test_the_annotations_of_a_task_are_its_types(client):
    worker = Worker(client)

    @worker.task
    def send(payload: Email) -> Email:
        return payload

    handle = await send.submit(Email(to="ada"))
    await run(worker)
    assert await handle.result() == Email(to="ada")


async def test_a_task_of_a_registered_type(queue):
    registry = Registry()
    email = registry.job("email", Email, str)
    worker = Worker(OsqueueClient(transport=MemoryTransport(queue), registry=registry))
    assert worker.task("email")(lambda payload: "").job_type is email
    with pytest.raises(ConfigError, match="has a handler already"):
        worker.task(email)(lambda payload: "")


def test_delay_is_for_code_without_an_event_loop(queue):
    worker = Worker(OsqueueClient(transport=MemoryTransport(queue)))

    @worker.task
    def first(payload: int) -> bool:
        return second.delay(payload + 1).id is not None

    @worker.task
    def second(payload: int) -> int:
        return payload + 1

    handle = first.delay(1)
    worker.run_sync(until_idle=True)
    assert handle.result() is True
    assert [job.status for job in queue.jobs.values()] == ["completed"] * 2


async def test_delay_in_an_event_loop_is_refused_with_the_line_to_write(client):
    task = Worker(client).task("t")(lambda payload: None)
    task.function.__name__ = "send"
    with pytest.raises(ConfigError, match=r"write await send\.submit\(\.\.\.\)"):
        task.delay(1)


async def test_a_task_may_run_in_a_process(client):
    worker = Worker(client)
    Doubling.register(worker)
    handle = await client.submit_job("doubled", 4)
    await run(worker)
    assert await handle.result() == 8


# --- middleware -------------------------------------------------------------------------------------------------------


async def test_middleware_runs_around_handlers_of_every_kind(client):
    worker, told = Worker(client), []

    @worker.use
    async def outer(context, proceed):
        told.append(f"outer {context.job.type}")
        result = await proceed()
        told.append(f"outer {result}")
        return result + 1

    @worker.use
    @contextmanager
    def inner(context):
        told.append("in")
        yield
        told.append("out")

    async def loop(payload):
        return payload

    worker.add("loop", loop)
    worker.add("thread", lambda payload: payload)
    handles = [await client.submit_job(name, 1) for name in ("loop", "thread")]
    for handle in handles:
        told.clear()
        await run(worker)
        assert await handle.result() == 2
    assert told == [] or told[:2] == ["outer loop", "in"]


async def test_middleware_sees_what_a_handler_raises_and_may_skip_it(client):
    worker, seen = Worker(client), []

    @worker.use
    async def watch(context, proceed):
        if context.job.value() == "skip":
            return "skipped"
        try:
            return await proceed()
        except ValueError as error:
            seen.append(error)
            raise

    @worker.task
    async def fail(payload):
        raise ValueError(payload)

    failing = await fail.submit("boo", max_attempts=1)
    skipped = await fail.submit("skip")
    await run(worker)
    assert (await failing.job()).error.type == "ValueError"
    assert [str(error) for error in seen] == ["boo"]
    assert await skipped.result() == "skipped"


async def test_an_error_of_middleware_fails_the_attempt(client):
    worker = Worker(client, {"t": lambda payload: None})
    worker.use(contextmanager(_broken))
    handle = await client.submit_job("t", 1, max_attempts=1)
    await run(worker)
    assert (await handle.job()).error.type == "RuntimeError"


def _broken(context):
    raise RuntimeError("no database")
    yield


async def _takes_one(context): ...


@pytest.mark.parametrize("wrong", [_takes_one, lambda context, proceed: None, 7])
def test_what_is_not_middleware_is_refused(client, wrong):
    with pytest.raises(ConfigError, match="middleware"):
        Worker(client).use(wrong)


async def test_middleware_is_said_before_the_worker_runs(client):
    worker = Worker(client)

    @worker.task
    async def late(payload):
        with pytest.raises(ConfigError, match="runs already"):
            worker.use(_takes_one)

    await late.submit(1)
    await run(worker)
    assert worker.tally.completed == 1


# --- the job that code runs for ---------------------------------------------------------------------------------------


async def test_code_knows_the_job_that_it_runs_for(client):
    worker, known = Worker(client), {}

    def note(place):
        context = current_job()
        known[place] = (context.job_id, context.attempt)

    async def loop(payload):
        await asyncio.sleep(0)
        note("loop")

    def thread(payload):
        assert threading.current_thread() is not threading.main_thread()
        note("thread")

    worker.add("loop", loop)
    worker.add("thread", thread)
    handles = {name: await client.submit_job(name, 1) for name in ("loop", "thread")}
    await run(worker)
    assert known == {name: (handle.id, 1) for name, handle in handles.items()}
    assert current_job() is None


async def test_records_of_all_loggers_carry_the_job(client):
    records = []

    class Keep(logging.Handler):
        def emit(self, record):
            records.append((record.name, record.job_id, record.job_type, record.attempt))

    keep = Keep()
    keep.addFilter(JobLogFilter())
    library = logging.getLogger("some.library")
    library.addHandler(keep)
    try:
        handle = await client.submit_job("t", 1)
        await run(Worker(client, {"t": lambda payload: library.warning("inside")}))
        library.warning("outside")
    finally:
        library.removeHandler(keep)
    assert records == [("some.library", handle.id, "t", 1), ("some.library", "-", "-", 0)]
