"""What handlers are given by the annotations of their parameters."""

import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from osqueue import ConfigError, Handler, JobContext, OsqueueClient, Worker


class Pool:
    pass


class Session:
    def __init__(self, pool, job_id):
        self.pool, self.job_id = pool, job_id


class Clock:
    pass


async def run(worker):
    await worker.run(until_idle=True, handle_signals=False)


@pytest.fixture
def worker(client):
    return Worker(client, guarded=False)


@pytest.fixture
def told(worker):
    """A worker that provides a pool, and a session of it for each job; and what these did."""
    told = []

    @worker.provide
    async def pool() -> AsyncIterator[Pool]:
        told.append("pool opened")
        yield Pool()
        told.append("pool closed")

    @worker.provide(scope="job")
    async def session(pool: Pool, context: JobContext) -> AsyncIterator[Session]:
        told.append(f"session of {context.job.value()}")
        try:
            yield Session(pool, context.job_id)
        except ValueError:
            told.append("rolled back")
            raise
        else:
            told.append("committed")

    return told


async def test_a_handler_is_given_what_it_wants(client, worker, told):
    seen = []

    @worker.handler("loop")
    async def loop(payload: int, session: Session, context: JobContext):
        seen.append((session.pool, session.job_id == context.job_id))

    @worker.handler("thread")
    def thread(payload: int, context, *, session: Session, pool: Pool):
        assert threading.current_thread() is not threading.main_thread()
        seen.append((session.pool, session.pool is pool and session.job_id == context.job_id))

    await client.submit_job("loop", 1)
    await client.submit_job("thread", 2)
    await run(worker)
    assert len(seen) == 2
    assert {pool for pool, _ in seen} == {seen[0][0]}
    assert all(right for _, right in seen)
    assert (told[0], told[-1]) == ("pool opened", "pool closed")
    assert sorted(told[1:-1]) == ["committed", "committed", "session of 1", "session of 2"]


async def test_what_is_there_for_a_job_hears_how_it_ends(client, worker, told):
    @worker.handler("t")
    async def fail(payload, session: Session):
        raise ValueError("no")

    job = await client.submit_job("t", 1, max_attempts=1)
    await run(worker)
    assert told == ["pool opened", "session of 1", "rolled back", "pool closed"]
    assert (await job.job()).error.type == "ValueError"


async def test_two_wants_of_one_job_are_given_the_same(client, worker):
    @worker.provide(scope="job")
    def clock() -> Clock:
        return Clock()

    class Watch:
        def __init__(self, clock):
            self.clock = clock

    def watch(clock: Clock) -> Iterator[Watch]:
        yield Watch(clock)

    watch.__annotations__["return"] = Iterator[Watch]
    worker.provide(scope="job")(watch)
    seen = []

    async def look(payload, clock: Clock, watch):
        seen.append((clock, watch.clock))

    look.__annotations__["watch"] = Watch
    worker.add("t", look)
    await client.submit_job("t", 1)
    await client.submit_job("t", 1)
    await run(worker)
    (first, its), (second, other) = seen
    assert first is its
    assert second is other
    assert first is not second


async def test_the_client_is_there_without_a_provider(client, worker):
    @worker.handler("t")
    async def more(payload: int, queue: OsqueueClient):
        if payload:
            await queue.submit_job("t", payload - 1)

    await client.submit_job("t", 2)
    await run(worker)
    assert worker.tally.completed == 3


async def test_a_task_is_given_what_it_wants(client, worker, told):
    @worker.task
    async def send(payload: int, session: Session) -> int:
        return payload + 1

    job = await send.submit(1)
    await run(worker)
    assert await job.result() == 2


async def test_middleware_is_outside_of_what_is_made_for_a_job(client, worker, told):
    @worker.use
    async def note(context, proceed):
        told.append("in")
        try:
            return await proceed()
        finally:
            told.append("out")

    @worker.handler("t")
    async def handle(payload, session: Session):
        told.append("handler")

    await client.submit_job("t", 1)
    await run(worker)
    assert told == ["pool opened", "in", "session of 1", "handler", "committed", "out", "pool closed"]


async def test_a_provider_that_fails_fails_the_attempt(client, worker):
    @worker.provide(scope="job")
    async def clock() -> Clock:
        raise OSError("no clock")

    @worker.handler("t")
    async def handle(payload, clock: Clock):
        raise AssertionError("not reached")

    job = await client.submit_job("t", 1, max_attempts=1)
    await run(worker)
    assert (await job.job()).error.type == "OSError"


async def test_a_provider_of_the_worker_that_fails_keeps_it_from_starting(client, queue, worker, told):
    @worker.provide
    async def clock() -> Clock:
        raise OSError("no clock")

    worker.add("t", lambda payload: None)
    await client.submit_job("t", 1)
    with pytest.raises(OSError, match="no clock"):
        await run(worker)
    assert told == ["pool opened", "pool closed"]
    assert "claim_jobs" not in queue.calls
    assert worker.state().status == "idle"


async def test_a_worker_that_runs_again_makes_its_things_again(client, worker, told):
    worker.add("t", lambda payload: None)
    for _ in range(2):
        await run(worker)
    assert told == ["pool opened", "pool closed"] * 2


async def test_a_second_parameter_that_nobody_provides_is_the_context(client, worker, told):
    """As it always was, whatever it is annotated with."""
    seen = []

    @worker.handler("t")
    async def handle(payload, context: object):
        seen.append(context.job_id)

    job = await client.submit_job("t", 1)
    await run(worker)
    assert seen == [job.id]


def _without_an_annotation(pool):
    return Clock()


def _of_what() -> None: ...


def _untyped_parameter(pool) -> Clock: ...


def _a_pool() -> Pool: ...


def _a_context() -> JobContext: ...


@pytest.mark.parametrize(
    ("provider", "options", "says"),
    [
        (7, {}, "a provider must be a function"),
        (_without_an_annotation, {}, "does not say what it provides"),
        (_of_what, {}, "does not say what it provides"),
        (_untyped_parameter, {}, "the parameter pool of .* has no annotation"),
        (_a_pool, {}, "Pool is provided already"),
        (_a_context, {}, "JobContext is provided already"),
        (_a_pool, {"scope": "request"}, "must be 'worker' or 'job', got 'request'"),
    ],
)
def test_what_cannot_provide_is_refused(worker, told, provider, options, says):
    with pytest.raises(ConfigError, match=says):
        worker.provide(**options)(provider) if options else worker.provide(provider)


def _session_for_the_worker(session: Session) -> Clock: ...


def _clock_of_strangers(where: Handler) -> Clock: ...


def _clock_of_a_clock(clock: Clock) -> Clock: ...


@pytest.mark.parametrize(
    ("provider", "says"),
    [
        (_session_for_the_worker, r"write @worker.provide\(scope='job'\)"),
        (_clock_of_strangers, "nothing provides Handler for the parameter where of the provider of Clock"),
        (_clock_of_a_clock, "providers want each other: Clock -> Clock"),
    ],
)
async def test_providers_that_cannot_work_keep_the_worker_from_starting(queue, worker, told, provider, says):
    worker.provide(provider)
    worker.add("t", lambda payload: None)
    with pytest.raises(ConfigError, match=says):
        await run(worker)
    assert told == []


async def _wants_a_stranger(payload, context, clock: Clock): ...


def in_a_process(payload, pool: Pool): ...


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (_wants_a_stranger, "nothing provides Clock for the parameter clock of the handler _wants_a_stranger"),
        (Handler(in_a_process, runs_in="process"), "in_a_process runs in a process of its own"),
    ],
)
async def test_a_handler_that_wants_what_it_cannot_get_keeps_the_worker_from_starting(worker, told, handler, says):
    worker.add("t", handler)
    with pytest.raises(ConfigError, match=says):
        await run(worker)
