"""The trace of a request goes with the jobs that it submits."""

import json

import pytest

from osqueue_gateway.trace_context import METADATA_BYTES_MAX, STATE_CHARS_MAX, carry
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2
from tests.integration.gateway.gateways import Caller

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-" + "1" * 32 + "-" + "2" * 16 + "-00"


def carried(headers: dict[str, str], **metadata: str) -> dict[str, str]:
    request = queue_pb2.SubmitJobRequest(metadata=metadata)
    carry(headers, request)
    return dict(request.metadata)


async def metadata_of(caller: Caller, job_id: str) -> dict[str, str]:
    found: dict[str, str] = (await caller.get(f"/v1/jobs/{job_id}"))["job"].get("metadata", {})
    return found


async def test_over_rest(caller: Caller) -> None:
    asked = await caller.ask("POST", "/v1/jobs", '{"payload": 1}', Traceparent=PARENT, Tracestate="a=b")
    assert await metadata_of(caller, asked.json()["jobId"]) == {"traceparent": PARENT, "tracestate": "a=b"}


async def test_each_job_of_a_batch(caller: Caller) -> None:
    jobs = {"jobs": [{"payload": 1}, {"payload": 2, "metadata": {"traceparent": OTHER}}]}
    asked = await caller.ask("POST", "/v1/batch/submit", json.dumps(jobs), Traceparent=PARENT)
    first, second = [result["submitted"]["jobId"] for result in asked.json()["results"]]
    assert await metadata_of(caller, first) == {"traceparent": PARENT}
    assert await metadata_of(caller, second) == {"traceparent": OTHER}, "it knows better"


async def test_over_connect(caller: Caller) -> None:
    asked = await caller.ask("POST", "/osqueue.v1.QueueService/SubmitJob", '{"payload": "AP8="}', Traceparent=PARENT)
    assert await metadata_of(caller, asked.json()["jobId"]) == {"traceparent": PARENT}


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "nonsense",
        PARENT.upper(),
        PARENT + "-more",
        "ff" + PARENT[2:],
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
    ],
)
def test_a_malformed_context_is_as_good_as_none(parent: str) -> None:
    assert carried({"traceparent": parent, "tracestate": "a=b"}) == {}


def test_a_state_that_is_too_long_stays_behind() -> None:
    longest = "a=" + "b" * (STATE_CHARS_MAX - 2)
    assert carried({"traceparent": PARENT, "tracestate": longest})["tracestate"] == longest
    assert carried({"traceparent": PARENT, "tracestate": longest + "b"}) == {"traceparent": PARENT}


def test_a_job_is_not_refused_for_a_context_that_it_did_not_ask_for() -> None:
    most = {"k": "v" * (METADATA_BYTES_MAX - 1)}
    assert "traceparent" in carried({"traceparent": PARENT}, **most)
    more = {"k": "v" * METADATA_BYTES_MAX}
    assert carried({"traceparent": PARENT}, **more) == more


def test_only_submissions_carry_it() -> None:
    request = queue_pb2.ListJobsRequest(filter=job_pb2.JobFilter(types=["a"]))
    before = request.SerializeToString()
    carry({"traceparent": PARENT}, request)
    assert request.SerializeToString() == before
