"""What runs around submissions: sees the jobs, may change them, hears what becomes of them."""

from contextlib import contextmanager
from contextvars import ContextVar

import pytest

from osqueue import (
    BrokerProtocolError,
    ConfigError,
    JobHandle,
    OsqueueClient,
    QueueFullError,
    SyncClient,
    Worker,
    new_job,
)
from tests.unit.sdk.memory_transport import MemoryTransport


def tag(jobs):
    for job in jobs:
        job.metadata = {**(job.metadata or {}), "release": "7"}


async def test_it_changes_what_is_submitted_in_whatever_way(client, queue):
    client.use(tag)
    worker = Worker(client)

    @worker.task
    async def send(payload): ...

    await client.submit_job("t", 1, metadata={"tenant": "a"})
    await client.submit_jobs([new_job("t", 2), new_job("t", 3)])
    await client.submit_jobs([new_job("t", 4)], atomic=False)
    await send.submit(5)
    assert [job.metadata for job in queue.jobs.values()] == [
        {"tenant": "a", "release": "7"}, *[{"release": "7"}] * 4
    ]  # fmt: skip


async def test_layers_lie_around_each_other_and_hear_of_the_outcome(client):
    told = []

    @client.use
    async def outer(jobs, proceed):
        told.append(f"outer {[job.type for job in jobs]}")
        handles = await proceed()
        told.append(f"outer {[type(handle) for handle in handles] == [JobHandle] * len(jobs)}")
        return handles

    @client.use
    @contextmanager
    def inner(jobs):
        told.append("in")
        yield
        told.append("out")

    await client.submit_jobs([new_job("a", 1), new_job("b", 1)])
    assert told == ["outer ['a', 'b']", "in", "out", "outer True"]


async def test_it_hears_of_what_is_refused(client, queue):
    seen = []

    @client.use
    async def watch(jobs, proceed):
        try:
            return await proceed()
        except QueueFullError as error:
            seen.append(error)
            raise

    queue.errors += [QueueFullError("full") for _ in range(4)]
    with pytest.raises(QueueFullError):
        await client.submit_job("t", 1)
    assert len(seen) == 1


def _no_text(job):
    job.type = 5


def _no_number(job):
    job.priority = "high"


def _no_labels(job):
    job.metadata = {"tenant": 7}


@pytest.mark.parametrize(
    ("change", "field"), [(_no_text, "type"), (_no_number, "priority"), (_no_labels, "metadata['tenant']")]
)
async def test_what_it_makes_of_a_job_is_checked(client, queue, change, field):
    client.use(lambda jobs: change(jobs[0]))
    with pytest.raises(BrokerProtocolError) as refused:
        await client.submit_job("t", 1)
    assert refused.value.violations[0].field == field
    assert queue.jobs == {}


async def test_a_payload_may_be_anything_again(client, queue):
    def wrap(jobs):
        jobs[0].payload = {"wrapped": jobs[0].payload.decode()}

    client.use(wrap)
    job = await client.submit_job("t", 1)
    assert queue.jobs[job.id].payload == b'{"wrapped":"1"}'


async def test_it_leaves_as_many_jobs_as_there_were_and_returns_what_came_of_them(client, queue):
    @client.use
    async def forgetful(jobs, proceed):
        await proceed()

    with pytest.raises(ConfigError, match="must return what `await proceed\\(\\)` returns"):
        await client.submit_job("t", 1)
    other = OsqueueClient(transport=MemoryTransport(queue))
    other.use(lambda jobs: jobs.clear())
    with pytest.raises(ConfigError, match="as many jobs"):
        await other.submit_jobs([new_job("t", 1)])


async def _takes_one(jobs): ...


@pytest.mark.parametrize("wrong", [_takes_one, lambda jobs, proceed: None, 7])
def test_what_is_not_middleware_is_refused(client, wrong):
    with pytest.raises(ConfigError, match="middleware"):
        client.use(wrong)


tenant: ContextVar[str] = ContextVar("tenant", default="-")


def test_a_synchronous_program_has_it_too(queue):
    """With the caller's context variables, although the client runs in a thread of its own."""
    with SyncClient(transport=MemoryTransport(queue)) as client:

        @client.use
        def stamp(jobs):
            for job in jobs:
                job.metadata = {"tenant": tenant.get()}

        tenant.set("ada")
        client.submit_job("t", 1)
    assert [job.metadata for job in queue.jobs.values()] == [{"tenant": "ada"}]


def test_a_task_from_a_thread_passes_it_too(queue):
    client = OsqueueClient(transport=MemoryTransport(queue))
    client.use(tag)
    worker = Worker(client)

    @worker.task
    def send(payload): ...

    send.delay(1)
    assert [job.metadata for job in queue.jobs.values()] == [{"release": "7"}]
