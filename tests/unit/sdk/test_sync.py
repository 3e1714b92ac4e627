"""The synchronous client has the same methods, from any thread."""

import inspect
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from osqueue import (
    JobHandle,
    JobNotFoundError,
    OsqueueClient,
    OsqueueError,
    Registry,
    SyncClient,
    SyncJobHandle,
    TransportConfigError,
    TransportConnectionError,
    new_job,
)
from tests.unit.sdk.memory_transport import MemoryTransport

ASYNC_ONLY = {"new_transport"}
SYNC_ONLY = {"beside"}


@pytest.fixture
def client(queue):
    with SyncClient(transport=MemoryTransport(queue), retry_delay_ms=0) as client:
        yield client


def public(kind):
    members = {name: member for name, member in inspect.getmembers(kind) if not name.startswith("_")}
    return {name: member for name, member in members.items() if callable(member)}


def parameters(function):
    return [
        (parameter.name, parameter.kind, parameter.default)
        for parameter in inspect.signature(function).parameters.values()
    ]


@pytest.mark.parametrize(("twin", "original"), [(SyncClient, OsqueueClient), (SyncJobHandle, JobHandle)])
def test_the_twins_have_the_same_methods(twin, original):
    mine, theirs = public(twin), public(original)
    assert set(mine) - SYNC_ONLY == set(theirs) - ASYNC_ONLY
    for name in set(mine) - SYNC_ONLY:
        assert parameters(mine[name]) == parameters(theirs[name]), name


def test_the_twins_are_made_alike():
    assert parameters(SyncClient.__init__) == parameters(OsqueueClient.__init__)


def test_a_job_from_end_to_end(client):
    handle = client.submit_job("email", {"to": "ada"})
    assert (handle.status(), handle.deduplicated, repr(handle)) == ("unclaimed", False, f"JobHandle('{handle.id}')")
    job = client.claim_job("w1")
    assert not client.heartbeat(job, progress=0.5).cancel_requested
    client.complete_job(job, "sent")
    assert handle.result(1_000) == "sent"
    assert handle.job().progress.fraction == 0.5
    assert client.wait_job(handle.id).finished
    assert client.get_stats().counts.completed_total == 1


def test_failing_and_steering(client):
    first, second = client.submit_jobs([new_job("t", n, max_attempts=1) for n in range(2)])
    job, other = client.claim_jobs("w1", max_jobs=2)
    assert client.fail_job(job, "no").status == "dead"
    assert client.release_job(other).status == "unclaimed"
    assert [change.job_id for change in client.retry_jobs([first.id]).changed] == [first.id]
    assert client.cancel_job(first.id).status == "cancelled"
    assert second.cancel().status == "cancelled"
    assert len(client.cancel_jobs([second.id]).changed) == 1
    assert client.explain_job(first.id).status == "cancelled"


def test_errors_are_raised_here(client):
    with pytest.raises(JobNotFoundError):
        client.get_job("job-1")
    results = client.submit_jobs([new_job("t", b""), new_job("t", 1)], atomic=False)
    assert isinstance(results[0], OsqueueError)
    assert results[1].status() == "unclaimed"


def test_iterators(client, queue):
    client.submit_jobs([new_job("t", n) for n in range(3)])
    assert [job.value() for job in client.list_jobs(page_size=1)] == [0, 1, 2]
    events = client.watch(after=queue.position._replace(sequence=0))
    assert next(events).kind == "submitted"
    events.close()


def test_waiting_for_a_result(client):
    worker = threading.Thread(target=lambda: client.complete_job(client.claim_job("w1", wait_ms=1_000), 7))
    worker.start()
    assert client.submit_and_wait("t", 1) == 7
    worker.join()


def test_what_threads_submit_at_the_same_time_travels_together(client, queue):
    at_once = threading.Barrier(8)

    def submit(n):
        at_once.wait()
        return client.submit_job("t", n).id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(submit, range(8)))) == 8
    assert sum(queue.batches) == 8


def test_a_closed_client_says_so(queue):
    client = SyncClient(transport=MemoryTransport(queue))
    client.submit_job("t", 1)
    assert client.state().connected
    client.close()
    client.close()
    with pytest.raises(TransportConnectionError, match="closed"):
        client.submit_job("t", 1)


def test_a_client_does_not_survive_a_fork(client, monkeypatch):
    client.get_stats()
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(TransportConfigError, match="connect only after the fork"):
        client.get_stats()
    monkeypatch.undo()


def test_the_registry_is_shared(queue):
    registry = Registry()
    with SyncClient(transport=MemoryTransport(queue), registry=registry) as client:
        assert client.registry is registry
