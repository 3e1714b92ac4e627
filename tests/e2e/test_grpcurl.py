"""grpcurl, as it is, drives a broker through reflection."""

import base64
import json
import subprocess
from typing import Any

import pytest

from osqueue_service.testing.in_process import BrokerThread
from scripts.tools import place
from tests.servers import REQUIRED

GRPCURL = place("grpcurl") / "grpcurl"
MISSING = "grpcurl is not installed: run scripts/install_grpcurl.sh"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not GRPCURL.exists() and not REQUIRED, reason=MISSING),
]


@pytest.fixture(scope="module")
def broker():
    assert GRPCURL.exists(), MISSING
    with BrokerThread() as running:
        yield running.address


def grpcurl(broker: str, *arguments: str, request: Any = None) -> str:
    data = ["-d", json.dumps(request)] if request is not None else []
    result = subprocess.run(
        [GRPCURL, "-plaintext", "-max-time", "10", *data, broker, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
    )
    return result.stdout + result.stderr


def test_the_services_are_listed(broker):
    listed = grpcurl(broker, "list").split()
    assert {"osqueue.v1.QueueService", "osqueue.v1.AdminService", "grpc.health.v1.Health"} <= set(listed)


def test_a_method_is_described_with_its_comment(broker):
    shown = grpcurl(broker, "describe", "osqueue.v1.QueueService.SubmitJob")
    assert "// Puts one job into the queue; answers once it is durable." in shown
    assert "rpc SubmitJob ( .osqueue.v1.SubmitJobRequest ) returns ( .osqueue.v1.SubmitJobResponse )" in shown


def test_a_message_is_described(broker):
    assert "bytes payload = 1;" in grpcurl(broker, "describe", "osqueue.v1.SubmitJobRequest")


def test_a_job_runs_from_submission_to_completion(broker):
    def call(method: str, **request: Any) -> dict[str, Any]:
        return json.loads(grpcurl(broker, f"osqueue.v1.QueueService/{method}", request=request))

    payload = base64.b64encode(b'{"to":"ann"}').decode()
    job_id = call("SubmitJob", payload=payload, type="mail")["jobId"]
    claimed = call("ClaimJob", workerId="w1")
    assert (claimed["jobId"], claimed["payload"]) == (job_id, payload)
    call("CompleteJob", jobId=job_id, workerId="w1", leaseToken=claimed["leaseToken"], result="NDI=")
    job = call("GetJob", jobId=job_id)["job"]
    assert (job["status"], job["result"]) == ("completed", "NDI=")


def test_a_refusal_shows_its_details(broker):
    shown = grpcurl(broker, "osqueue.v1.QueueService/SubmitJob", request={})
    assert "InvalidArgument" in shown and "payload: is required" in shown
    assert "google.rpc.BadRequest" in shown


def test_the_state_is_streamed(broker):
    assert '"header"' in grpcurl(broker, "osqueue.v1.AdminService/GetState", request={})


def test_health_is_asked(broker):
    assert '"SERVING"' in grpcurl(broker, "grpc.health.v1.Health/Check", request={"service": "osqueue.v1.QueueService"})
