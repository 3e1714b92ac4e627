"""Fair turns over gRPC: what is refused, what is shown."""

import math

import pytest

from osqueue_stubs.osqueue.v1 import flow_pb2, job_pb2, queue_pb2
from tests.calls import claim, refused


async def submit(queue, key="", **fields):
    answer = await queue.SubmitJob(queue_pb2.SubmitJobRequest(payload=b"1", fairness_key=key, **fields))
    return answer.job_id


async def weigh(flow, key, weight):
    await flow.PutFairnessWeight(flow_pb2.PutFairnessWeightRequest(key=key, weight=weight))


async def keys(flow, **request):
    return list((await flow.ListFairnessKeys(flow_pb2.ListFairnessKeysRequest(**request))).keys)


@pytest.mark.parametrize("key", ["k" * 65, "ä" * 33, "a\nb"])
async def test_a_key_that_cannot_be_is_refused(queue, flow, key):
    with refused() as refusal:
        await submit(queue, key)
    assert refusal.reason == "INVALID_REQUEST" and "fairness_key" in refusal.violations
    with refused() as refusal:
        await weigh(flow, key, 2)
    assert "key" in refusal.violations
    with refused() as refusal:
        await queue.ListJobs(queue_pb2.ListJobsRequest(filter=job_pb2.JobFilter(fairness_key=key)))
    assert "filter.fairness_key" in refusal.violations
    assert not await keys(flow)


async def test_a_key_of_64_bytes_is_taken(queue):
    job_id = await submit(queue, "ä" * 32)
    info = (await queue.GetJob(queue_pb2.GetJobRequest(job_id=job_id))).job
    assert info.fairness_key == "ä" * 32


@pytest.mark.parametrize("weight", [0, -1, 0.0009, 1_000.001, math.inf, math.nan])
async def test_a_weight_that_cannot_be_is_refused(flow, weight):
    with refused() as refusal:
        await weigh(flow, "a", weight)
    assert refusal.reason == "INVALID_REQUEST" and "weight" in refusal.violations
    assert not await keys(flow)


@pytest.mark.parametrize("weight", [0.001, 1_000])
async def test_the_least_and_the_largest_weight_are_taken(flow, weight):
    await weigh(flow, "a", weight)
    assert [(key.key, key.weight) for key in await keys(flow)] == [("a", weight)]


async def test_keys_are_claimed_in_turns_and_shown(queue, flow):
    for key in ["a", "a", "a", "b"]:
        await submit(queue, key)
    await weigh(flow, "c", 2.5)
    whose = [(await queue.GetJob(queue_pb2.GetJobRequest(job_id=(await claim(queue)).job_id))).job for _ in range(2)]
    assert [info.fairness_key for info in whose] == ["a", "b"]
    assert [(key.key, key.weight, key.waiting, key.running, key.claimed) for key in await keys(flow)] == [
        ("a", 1, 2, 1, 1),
        ("b", 1, 0, 1, 1),
        ("c", 2.5, 0, 0, 0),
    ]
    stats = await queue.GetStats(queue_pb2.GetStatsRequest())
    assert [(key.key, key.waiting) for key in stats.fairness] == [("a", 2), ("b", 0)]


async def test_keys_come_in_pages(queue, flow):
    for key in ["d", "a", "c", "b"]:
        await submit(queue, key)
    found, token = [], ""
    while True:
        request = flow_pb2.ListFairnessKeysRequest(page_size=2, page_token=token)
        page = await flow.ListFairnessKeys(request)
        found.append([key.key for key in page.keys])
        token = page.next_page_token
        if not token:
            break
    assert found == [["a", "b"], ["c", "d"]]
    with refused() as refusal:
        await keys(flow, page_token="?", page_size=1_001)
    assert {"page_token", "page_size"} <= set(refusal.violations)


async def test_explain_says_whose_turn_comes_first(queue):
    await submit(queue, "a")
    await submit(queue, "b")
    later = await submit(queue, "a")
    await claim(queue)
    why = await queue.ExplainJob(queue_pb2.ExplainJobRequest(job_id=later))
    assert queue_pb2.EXPLAIN_REASON_FAIR_TURN in why.reasons
    assert (why.fair_turn.key, why.fair_turn.weight, why.fair_turn.keys_ahead, why.jobs_ahead) == ("a", 1, 1, 0)


async def test_a_job_that_the_queue_submits_by_itself_names_no_key(queue):
    """What may be said of it is what a template has."""
    assert "fairness_key" not in job_pb2.JobTemplate.DESCRIPTOR.fields_by_name
