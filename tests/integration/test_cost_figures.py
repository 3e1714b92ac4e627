"""What the queue costs, as operators see it."""

import grpc

from osqueue_service.testing.in_process import broker_in_process
from osqueue_stubs.osqueue.v1 import admin_pb2, admin_pb2_grpc, queue_pb2, queue_pb2_grpc


async def test_requests_and_dollars_per_million_jobs_are_told() -> None:
    settings = {"OSQUEUE_STORAGE_PRICES": "s3"}
    async with broker_in_process(settings=settings) as app, grpc.aio.insecure_channel(app.address) as channel:
        queue = queue_pb2_grpc.QueueServiceStub(channel)
        admin = admin_pb2_grpc.AdminServiceStub(channel)
        for _ in range(3):
            await queue.SubmitJob(queue_pb2.SubmitJobRequest(payload=b"1"))
        job = await queue.ClaimJob(queue_pb2.ClaimJobRequest(worker_id="w"))
        await queue.CompleteJob(
            queue_pb2.CompleteJobRequest(job_id=job.job_id, worker_id="w", lease_token=job.lease_token)
        )

        history = await admin.GetHistory(admin_pb2.GetHistoryRequest(step_ms=3_600_000))
        assert sum(point.storage_requests for point in history.points) >= 4

        storage = await admin.GetStorageStats(admin_pb2.GetStorageStatsRequest())
        assert storage.cost.currency == "USD"
        assert storage.cost.per_million_jobs > storage.cost.requests > 0
