"""How a job adds others to the batch or the workflow that it belongs to, by its own lease."""

import random

from osqueue.job import ClaimedJob
from osqueue_stubs.osqueue.v1 import batches_pb2, workflows_pb2

Call = batches_pb2.AddToBatchRequest | workflows_pb2.AddToWorkflowRequest


def joining(job: ClaimedJob, draw: random.Random) -> tuple[str, Call] | None:
    """The call by which a worker adds to the batch or the workflow of its job; None: it is in none."""
    content = f"{job.payload.decode()}/{job.lease_token}"
    held = {"job_id": job.job_id, "worker_id": job.worker_id, "lease_token": job.lease_token}
    if b"/member" in job.payload and job.payload.count(b"/") == 1:
        request = batches_pb2.AddToBatchRequest(request_id=content, **held)
        request.jobs.add(payload=content.encode(), max_attempts=1)
        return "AddToBatch", request
    if b"/workflow" in job.payload and job.payload.count(b"/") == 2:
        added = workflows_pb2.AddToWorkflowRequest(**held)
        node = added.nodes.add(name=f"added {job.lease_token}")
        node.job.payload, node.job.max_attempts = content.encode(), 1
        node.needs.add(node="node0", if_dead=draw.choice(workflows_pb2.EndPolicy.values()))
        return "AddToWorkflow", added
    return None
