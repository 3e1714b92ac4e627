"""Jobs adopted from the first osqueue, whose types may have any characters."""

import json

import grpc
import pytest

from osqueue_service.testing.in_process import broker_in_process
from osqueue_stubs.osqueue.v1 import admin_pb2, admin_pb2_grpc, job_pb2, queue_pb2, queue_pb2_grpc
from tests.calls import claim, refused, submit

TYPE = "Resize image (größe)"
JOB = {"id": "j1", "type": TYPE, "status": "unclaimed", "payload": "1", "attempts": 0, "maxAttempts": 3, "createdAt": 5}


@pytest.fixture
async def channel(tmp_path):
    root = {"broker": None, "brokerHeartbeat": 0, "jobs": [JOB], "completedTotal": 0}
    directory = tmp_path / "queue"
    async with broker_in_process(data_dir=directory):
        pass  # it makes the directory a store
    (found,) = directory.rglob("queue.json")
    for old in [path for path in directory.rglob("*") if path.is_file() and "log" in path.parts]:
        old.unlink()
    found.write_text(json.dumps(root))
    async with broker_in_process(data_dir=directory) as app, grpc.aio.insecure_channel(app.address) as opened:
        yield opened


async def test_they_are_listed_paused_and_claimed_by_their_type(channel):
    queue, admin = queue_pb2_grpc.QueueServiceStub(channel), admin_pb2_grpc.AdminServiceStub(channel)
    wanted = queue_pb2.ListJobsRequest(filter=job_pb2.JobFilter(types=[TYPE]))
    assert [job.id for job in (await queue.ListJobs(wanted)).jobs] == ["j1"]
    await admin.PauseTypes(admin_pb2.PauseTypesRequest(types=[TYPE]))
    assert not (await queue.ClaimJob(queue_pb2.ClaimJobRequest(worker_id="w", types=[TYPE]))).job_id
    await admin.ResumeTypes(admin_pb2.ResumeTypesRequest(types=[TYPE]))
    assert (await claim(queue, types=[TYPE, "other"])).job_id == "j1"


async def test_new_jobs_of_such_a_type_are_refused(channel):
    with refused("INVALID_REQUEST") as refusal:
        await submit(queue_pb2_grpc.QueueServiceStub(channel), type=TYPE)
    assert list(refusal.violations) == ["type"]
