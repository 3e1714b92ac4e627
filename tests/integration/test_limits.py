"""Limits over gRPC: what is refused, and who waits."""

import asyncio

import pytest

from osqueue_service.rpc.flow_service import limit_keys
from osqueue_stubs.osqueue.v1 import flow_pb2, job_pb2, queue_pb2
from tests.calls import claim, complete, refused

SETTINGS = flow_pb2.LimitSettings
RATE = flow_pb2.Rate


async def put(flow, name="api", **settings):
    return await flow.PutLimit(flow_pb2.PutLimitRequest(limit=SETTINGS(name=name, **settings)))


async def submit(queue, *limits, **fields):
    named = [job_pb2.Limit(limit=limit, key=key, cost=cost) for limit, key, cost in limits]
    answer = await queue.SubmitJob(queue_pb2.SubmitJobRequest(payload=b"1", limits=named, **fields))
    return answer.job_id


@pytest.mark.parametrize(
    "settings, field",
    [
        ({"name": "", "max_running": 1}, "limit.name"),
        ({"name": "a b", "max_running": 1}, "limit.name"),
        ({"name": "a" * 65, "max_running": 1}, "limit.name"),
        ({"name": "a"}, "limit"),
        ({"name": "a", "max_running": -1}, "limit.max_running"),
        ({"name": "a", "max_running": 1_000_000_001}, "limit.max_running"),
        ({"name": "a", "rate": RATE(limit=0, period_ms=1)}, "limit.rate.limit"),
        ({"name": "a", "rate": RATE(limit=-5, period_ms=1)}, "limit.rate.limit"),
        ({"name": "a", "rate": RATE(limit=1, period_ms=0)}, "limit.rate.period_ms"),
        ({"name": "a", "rate": RATE(limit=1, period_ms=86_400_001)}, "limit.rate.period_ms"),
        ({"name": "a", "rate": RATE(limit=1, period_ms=1, burst=-1)}, "limit.rate.burst"),
        ({"name": "a", "max_running": 1, "at_limit": 99}, "limit.at_limit"),
        ({"name": "a", "max_running": 1, "max_waiting_per_key": -1}, "limit.max_waiting_per_key"),
        ({"name": "a", "max_running": 1, "max_debt_ms": 86_400_001}, "limit.max_debt_ms"),
        ({"name": "a", "max_running": 1, "types": {"t": "org"}}, "limit.types['t']"),
        ({"name": "a", "max_running": 1, "per_key": True, "types": {"t": ""}}, "limit.types['t']"),
        ({"name": "a", "max_running": 1, "types": {f"t{n}": "" for n in range(101)}}, "limit.types"),
    ],
)
async def test_a_limit_that_cannot_be_is_refused(flow, settings, field):
    with refused() as refusal:
        await flow.PutLimit(flow_pb2.PutLimitRequest(limit=SETTINGS(**settings)))
    assert refusal.reason == "INVALID_REQUEST" and field in refusal.violations
    assert not (await flow.ListLimits(flow_pb2.ListLimitsRequest())).limits


@pytest.mark.parametrize(
    "limits, field",
    [
        ([("none", "", 0)], "limits[0].limit"),
        ([("", "a", 0)], "limits[0].limit"),
        ([("api", "a", 0), ("api", "b", 0)], "limits[1].limit"),
        ([("api", "k" * 129, 0)], "limits[0].key"),
        ([("api", "a\nb", 0)], "limits[0].key"),
        ([("api", "a", -1)], "limits[0].cost"),
        ([("api", "a", 3)], "limits[0].cost"),
        ([(f"l{n}", "", 0) for n in range(5)], "limits"),
    ],
)
async def test_a_job_whose_limits_cannot_be_is_refused(queue, flow, limits, field):
    await put(flow, max_running=2, per_key=True)
    with refused() as refusal:
        await submit(queue, *limits)
    assert refusal.reason == "INVALID_REQUEST" and field in refusal.violations
    assert (await queue.GetStats(queue_pb2.GetStatsRequest())).total == 0


async def test_keys_of_128_bytes_and_four_limits_are_allowed(queue, flow):
    for name in "abcd":
        await put(flow, name, max_running=1, per_key=True)
    job_id = await submit(queue, *((name, "k" * 128, 1) for name in "abcd"))
    assert (await claim(queue)).job_id == job_id


@pytest.mark.parametrize(
    "override, field",
    [
        (flow_pb2.LimitOverride(), "override"),
        (flow_pb2.LimitOverride(max_running=-2), "override.max_running"),
        (flow_pb2.LimitOverride(rate=RATE(limit=0)), "override.rate.limit"),
        (flow_pb2.LimitOverride(max_running=1, expires_at=1), "expires_at"),
        (flow_pb2.LimitOverride(max_running=1, expires_at=-1), "override.expires_at"),
    ],
)
async def test_an_override_that_cannot_be_is_refused(flow, override, field):
    await put(flow, max_running=2, per_key=True)
    with refused() as refusal:
        await flow.SetLimitOverride(flow_pb2.SetLimitOverrideRequest(name="api", key="a", override=override))
    assert refusal.reason == "INVALID_REQUEST" and field in refusal.violations


async def test_what_is_not_there_is_named(flow):
    calls = (
        lambda: flow.GetLimit(flow_pb2.GetLimitRequest(name="none")),
        lambda: flow.ListLimitKeys(flow_pb2.ListLimitKeysRequest(name="none")),
        lambda: flow.ResetLimitKey(flow_pb2.ResetLimitKeyRequest(name="none")),
        lambda: flow.SetLimitOverride(flow_pb2.SetLimitOverrideRequest(name="none", key="a")),
    )
    for call in calls:
        with refused() as refusal:
            await call()
        assert refusal.violations == {"name": "there is no limit 'none'"}
    answer = await flow.DeleteLimit(flow_pb2.DeleteLimitRequest(name="none"))
    assert not answer.deleted and answer.detached == 0


async def test_a_claim_that_waits_is_served_when_a_slot_is_free(queue, flow):
    await put(flow, max_running=1)
    first, second = [await submit(queue, ("api", "", 1)) for _ in range(2)]
    running = await claim(queue)
    assert running.job_id == first
    request = queue_pb2.ClaimJobRequest(worker_id="w2", wait_ms=30_000)
    waiting = asyncio.ensure_future(queue.ClaimJob(request))
    await complete(queue, running)
    assert (await waiting).job_id == second


async def test_a_claim_that_waits_is_served_when_the_key_is_reset(queue, flow):
    await put(flow, rate=RATE(limit=1, period_ms=3_600_000, burst=1))
    first, second = [await submit(queue, ("api", "", 1)) for _ in range(2)]
    assert (await claim(queue)).job_id == first
    explained = await queue.ExplainJob(queue_pb2.ExplainJobRequest(job_id=second))
    assert queue_pb2.EXPLAIN_REASON_RATE_LIMIT in explained.reasons
    assert explained.limits[0].next_start_at > 0
    waiting = asyncio.ensure_future(queue.ClaimJob(queue_pb2.ClaimJobRequest(worker_id="w", wait_ms=30_000)))
    await flow.ResetLimitKey(flow_pb2.ResetLimitKeyRequest(name="api"))
    assert (await waiting).job_id == second


async def test_a_page_of_full_keys_looks_at_a_bounded_number(queue, flow, monkeypatch):
    monkeypatch.setattr(limit_keys, "LOOKED_AT", 3)
    await put(flow, max_running=1, per_key=True)
    for number in range(8):
        await submit(queue, ("api", f"k{number}", 1), type="t" if number == 5 else "u")
    await claim(queue, types=["t"])
    pages, token = [], ""
    while True:
        request = flow_pb2.ListLimitKeysRequest(name="api", at_limit=True, page_token=token)
        page = await flow.ListLimitKeys(request)
        pages.append([key.key for key in page.keys])
        token = page.next_page_token
        if not token:
            break
    assert pages == [[], ["k5"], []]


async def test_keys_come_in_pages(queue, flow):
    await put(flow, max_running=1, per_key=True)
    for key in ["", "a", "b", "ä"]:
        await submit(queue, ("api", key, 1))
    found, token = [], ""
    while True:
        request = flow_pb2.ListLimitKeysRequest(name="api", page_size=2, page_token=token)
        page = await flow.ListLimitKeys(request)
        assert len(page.keys) <= 2
        found += [key.key for key in page.keys]
        token = page.next_page_token
        if not token:
            break
    assert found == ["", "a", "b", "ä"]
    with refused() as refusal:
        await flow.ListLimitKeys(flow_pb2.ListLimitKeysRequest(name="api", page_token="?"))
    assert "page_token" in refusal.violations
