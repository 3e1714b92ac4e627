"""One table of cases for every transport: what they answer is alike, to the byte."""

import asyncio
from dataclasses import replace
from importlib import metadata

import pytest

from osqueue import (
    AuthError,
    BrokerProtocolError,
    IdempotencyConflictError,
    JobError,
    JobFilter,
    JobNotFoundError,
    Lease,
    LeaseLostError,
    Limit,
    OsqueueClient,
    Rate,
    RateLimited,
    RetryPolicy,
    Stats,
    TransportConnectionError,
    Unique,
    UniqueConflictError,
    Worker,
    WorkerExecutionError,
    new_job,
)
from osqueue.job import JobSpec
from osqueue.messages import WatchRequest

PAYLOADS = [
    b'{"b": 1,  "a" :[1,2]}',
    b'{"n":123456789012345678901234567890,"x":1.50e+2}',
    '{"ö":"\\u00e4 𝄞"}'.encode(),
    b"null",
    b'"text"',
    b" 1 ",
    b"plain words",
    b"\x00\xff\xfe",
    b"[" + b"9" * 5_000 + b"]",
    b"[" * 100 + b"]" * 100,
]


async def claimed(client, **options):
    job = await client.claim_job("w1", **options)
    assert job is not None
    return job


# --- what travels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: repr(payload[:20]))
async def test_payloads_and_results_travel_verbatim(client, payload):
    handle = await client.submit_job("t", payload)
    assert (await handle.job()).payload == payload
    job = await claimed(client)
    assert job.payload == payload
    await client.complete_job(job, payload)
    finished = await client.wait_job(handle.id)
    assert (finished.status, finished.result) == ("completed", payload)


async def test_no_result_is_not_an_empty_result(client):
    first, second = await client.submit_jobs([new_job("t", n) for n in range(2)])
    await client.complete_job(await claimed(client))
    await client.complete_job(await claimed(client), b"")
    assert (await first.job()).result is None
    assert (await second.job()).result == b""


async def test_everything_a_producer_asks_for_arrives(client):
    policy = RetryPolicy(1_000, multiplier=3.5, max_ms=9_000, jitter=0.25)
    handle = await client.submit_job(
        "email.send:v1/x", {"to": "ada"}, max_attempts=7, priority=-5, lease_ms=5_000, timeout_ms=60_000,
        retry_policy=policy, idempotency_key="key ö", metadata={"traceparent": "00-ab", "tenant": "ö=1"},
        retention_ms=60_000,
    )  # fmt: skip
    job = await handle.job()
    assert (job.type, job.max_attempts, job.effective_max_attempts, job.priority) == ("email.send:v1/x", 7, 7, -5)
    assert (job.lease_ms, job.timeout_ms, job.retention_ms, job.retry_policy) == (5_000, 60_000, 60_000, policy)
    assert (job.idempotency_key, job.metadata) == ("key ö", {"traceparent": "00-ab", "tenant": "ö=1"})
    lease = await claimed(client)
    assert (lease.job_id, lease.attempt, lease.max_attempts, lease.priority) == (handle.id, 1, 7, -5)
    assert (lease.lease_ms, lease.timeout_ms, lease.metadata) == (5_000, 60_000, job.metadata)
    assert lease.lease_token
    assert lease.lease_expires_at > lease.created_at == job.created_at > 0


async def test_what_a_producer_leaves_out_stays_out(client):
    job = await (await client.submit_job("", 1)).job()
    assert (job.type, job.max_attempts, job.effective_max_attempts, job.retention_ms) == ("", 0, 3, None)
    assert (job.retry_policy, job.result, job.error, job.progress, job.metadata) == (None, None, None, None, {})


async def test_a_delayed_job_is_scheduled(client):
    handle = await client.submit_job("t", 1, delay_ms=3_600_000)
    job = await handle.job()
    assert job.status == "scheduled"
    assert abs(job.run_at - job.created_at - 3_600_000) <= 1_000
    assert await client.claim_job("w1") is None


# --- working ----------------------------------------------------------------------------------------------------------


async def test_jobs_are_claimed_in_order_and_by_type(client):
    await client.submit_jobs([new_job("a", 1), new_job("b", 2), new_job("a", 3), new_job("a", 4, priority=9)])
    jobs = await client.claim_jobs("w1", ["a"], max_jobs=2)
    assert [job.value() for job in jobs] == [4, 1]
    assert [job.value() for job in await client.claim_jobs("w1", max_jobs=9)] == [2, 3]
    assert await client.claim_jobs("w1", max_jobs=9) == []


async def test_a_claim_key_yields_the_same_leases(client):
    await client.submit_jobs([new_job("t", n) for n in range(3)])
    first = await client.claim_jobs("w1", max_jobs=2, claim_key="k")
    again = await client.claim_jobs("w1", max_jobs=2, claim_key="k")
    assert [(job.job_id, job.lease_token) for job in again] == [(job.job_id, job.lease_token) for job in first]


async def test_a_waiting_claim_is_woken_by_a_job(client, connect):
    waiting = asyncio.ensure_future(claimed(client, wait_ms=30_000))
    async with connect() as other:
        handle = await other.submit_job("t", 1)
    assert (await waiting).job_id == handle.id


async def test_a_claim_whose_caller_has_gone_takes_nothing(site, client):
    waiting = [asyncio.ensure_future(client.claim_job("w1", wait_ms=30_000)) for _ in range(3)]
    await site.waiting_claims(3)
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await site.waiting_claims(0)
    handle = await client.submit_job("t", 1)
    assert (await claimed(client)).job_id == handle.id


async def test_heartbeats_carry_progress_and_cancellation(client):
    handle = await client.submit_job("t", 1)
    job = await claimed(client)
    renewal = await client.heartbeat(job, progress=0.5, message="half")
    assert renewal.lease_expires_at >= job.lease_expires_at
    assert not renewal.cancel_requested
    shown = await handle.job()
    assert shown.progress[:2] == (0.5, "half")
    assert (await handle.cancel()).cancel_requested
    assert (await client.heartbeat(job)).cancel_requested


async def test_a_failed_attempt_is_remembered(client):
    handle = await client.submit_job("t", 1, max_attempts=2)
    settled = await client.fail_job(await claimed(client), JobError("ValueError", "no ö"))
    assert (settled.status, settled.run_at) == ("unclaimed", 0)
    assert (await client.fail_job(await claimed(client), JobError("KeyError", "x"))).status == "dead"
    job = await handle.job()
    assert (job.status, job.attempts, job.error) == ("dead", 2, JobError("KeyError", "x"))
    assert [(one.number, one.outcome, one.error) for one in job.history] == [
        (1, "failed", JobError("ValueError", "no ö")),
        (2, "failed", JobError("KeyError", "x")),
    ]
    with pytest.raises(WorkerExecutionError, match="KeyError: x"):
        await handle.result()


async def test_a_failure_may_say_when_to_try_again(client):
    await client.submit_job("t", 1)
    settled = await client.fail_job(await claimed(client), "later", retry_delay_ms=60_000)
    assert settled.status == "scheduled"
    assert settled.run_at > 0


async def test_a_failure_may_be_final(client):
    await client.submit_job("t", 1)
    assert (await client.fail_job(await claimed(client), "no", retryable=False)).status == "dead"


async def test_a_released_job_is_ready_again(client):
    handle = await client.submit_job("t", 1)
    assert (await client.release_job(await claimed(client))).status == "unclaimed"
    job = await handle.job()
    assert (job.attempts, job.attempt_number, job.history[0].outcome) == (0, 1, "released")


async def test_a_worker_works(client):
    async def double(payload):
        return 2 * payload

    handles = await asyncio.gather(*(client.submit_job("double", n) for n in range(30)))
    worker = Worker(client, {"double": double})
    await worker.run(until_idle=True, handle_signals=False)
    assert [await handle.result() for handle in handles] == [2 * n for n in range(30)]


async def test_a_waiting_worker_stops_at_once(client):
    worker = Worker(client, {"t": lambda payload: None})
    running = asyncio.ensure_future(worker.run(handle_signals=False))
    await (await client.submit_job("t", 1)).result()
    worker.stop()
    await running


# --- observing and steering -------------------------------------------------------------------------------------------


async def test_lists_are_filtered_and_walked(client):
    await client.submit_jobs([new_job("a", n, metadata={"tenant": "ö=1"}) for n in range(5)] + [new_job("b", 9)])
    assert [job.value() async for job in client.list_jobs(page_size=2)] == [0, 1, 2, 3, 4, 9]
    assert [job.value() async for job in client.list_jobs(types=["a"], page_size=4)] == [0, 1, 2, 3, 4]
    assert [job.value() async for job in client.list_jobs(page_size=4, order="newest")] == [9, 4, 3, 2, 1, 0]
    assert [job.value() async for job in client.list_jobs(metadata={"tenant": "ö=1"}, types=["b"])] == []
    await client.fail_job(await claimed(client), JobError("Odd", "x"), retryable=False)
    dead = [job async for job in client.list_jobs(statuses=["dead", "completed"], error_type="Odd", worker_id="w1")]
    assert [job.value() for job in dead] == [0]


async def test_lists_are_filtered_by_the_time_of_the_end(client):
    await client.submit_jobs([new_job("t", n) for n in range(3)])
    for _ in range(2):
        await client.complete_job(await client.claim_job("w1"))
    first, second = [job async for job in client.list_jobs(statuses=["completed"])]
    since = [job.id async for job in client.list_jobs(finished_from=second.finished_at)]
    assert since == [job.id for job in (first, second) if job.finished_at >= second.finished_at]
    before = [job.id async for job in client.list_jobs(finished_before=second.finished_at)]
    assert before == [job.id for job in (first, second) if job.finished_at < second.finished_at]
    until = second.finished_at + 1
    assert [job.value() async for job in client.list_jobs(finished_before=until)] == [0, 1]
    live = [job async for job in client.list_jobs(finished_before=until, statuses=["unclaimed"])]
    assert live == []
    removed = await client.admin.purge(matching=JobFilter(finished_before=until), dry_run=True)
    assert removed.by_status == {"completed": 2}
    assert not (await client.cancel_jobs(matching=JobFilter(finished_from=1), dry_run=True)).changed


async def test_views_show_more_or_less(client):
    await client.submit_job("t", {"n": 1})
    await client.fail_job(await claimed(client), "no")
    (basic,) = [job async for job in client.list_jobs(view="basic")]
    (full,) = [job async for job in client.list_jobs(view="full")]
    (plain,) = [job async for job in client.list_jobs()]
    assert (basic.payload, basic.payload_bytes, basic.history) == (b"", 7, [])
    assert (full.payload, len(full.history)) == (b'{"n":1}', 1)
    assert (plain.payload, plain.history) == (b'{"n":1}', [])


async def test_statistics(client):
    await client.submit_jobs([new_job("a", 1), new_job("b", 2), new_job("b", 3, delay_ms=60_000)])
    await client.complete_job(await claimed(client))
    stats = await client.get_stats(linearizable=True)
    counts = stats.counts
    assert (counts.total, counts.unclaimed, counts.scheduled, counts.in_progress) == (2, 1, 1, 0)
    assert (counts.completed_total, counts.submitted_total, counts.completed) == (1, 3, 1)
    assert {one.type: one.counts.total for one in stats.types}["b"] == 2
    assert stats.position is not None


async def test_a_broker_says_what_it_is(client, site):
    info = await client.get_info()
    assert (info.release, info.leads, info.leader_address) == (metadata.version("osqueue"), True, site.broker)
    assert info.understands("JobFilter.finished_from") and info.understands("RetryPolicy.jitter")
    assert not info.understands("JobFilter.finished") and not info.understands("JobInfo.id")


async def test_waiting_ends_when_the_time_is_over(client):
    handle = await client.submit_job("t", 1)
    assert (await client.wait_job(handle.id, timeout_ms=0)).status == "unclaimed"
    assert (await client.wait_job(handle.id, timeout_ms=20)).status == "unclaimed"


async def test_many_wait_at_once_and_others_are_served(client):
    handles = await client.submit_jobs([new_job("t", n) for n in range(100)])
    results = [asyncio.ensure_future(handle.result()) for handle in handles]
    jobs = await client.claim_jobs("w1", max_jobs=100)
    await asyncio.gather(*(client.complete_job(job, job.value()) for job in jobs))
    assert await asyncio.gather(*results) == list(range(100))


async def test_unique_jobs_say_what_came_of_them(client):
    held = Unique("k", "queue", "succeeded", "replace", "enqueue_one_after", 5_000)
    first = await client.submit_job("t", 1, unique=held)
    second = await client.submit_job("t", 2, unique=held)
    assert [(first.outcome, first.id), (second.outcome, second.id)] == [("created", first.id), ("replaced", first.id)]
    assert (await first.job()).unique == held
    await claimed(client)
    after = await client.submit_job("t", 3, unique=held)
    assert (after.outcome, await after.status()) == ("queued_after", "blocked")
    why = await client.explain_job(after.id)
    assert (why.reasons, why.blocked_by, why.unique_key) == (["unique_held", "blocked"], [first.id], "k")
    assert [job.id async for job in client.list_jobs(unique_key="k")] == [first.id, after.id]
    with pytest.raises(UniqueConflictError) as refused:
        await client.submit_job("t", 4, unique=replace(held, if_running="reject"))
    assert (refused.value.reason, refused.value.job_id) == ("UNIQUE_CONFLICT", first.id)
    with pytest.raises(UniqueConflictError) as refused:
        await client.submit_jobs([new_job("t", 4, unique=replace(held, if_running="reject"))])
    assert refused.value.job_id == first.id


async def test_sequences_run_one_after_the_other(client):
    first = await client.submit_job("t", 1, sequence_key="s", sequence_after_dead="skip")
    second = await client.submit_job("u", 2, sequence_key="s", priority=9)
    job = await first.job()
    assert (job.sequence_key, job.sequence_after_dead) == ("s", "skip")
    assert await second.status() == "blocked"
    why = await client.explain_job(second.id)
    assert (why.reasons[0], why.blocked_by, why.sequence_key, why.sequence_ahead) == ("sequence", [first.id], "s", 1)
    assert [job.id async for job in client.list_jobs(sequence_key="s")] == [first.id, second.id]
    await client.fail_job(await claimed(client), "no", retryable=False)
    assert (await claimed(client)).job_id == second.id


async def test_jobs_are_found_by_their_limit(client):
    for name in ("api", "db"):
        await client.limits.put(name, max_running=5, per_key=True)
    first, second = await client.submit_jobs(
        [
            new_job("t", 1, limits=[Limit("api", key="ä b"), Limit("db", key="x")]),
            new_job("t", 2, limits=[Limit("api", key="x")]),
        ]
    )
    await client.submit_job("t", 3)

    async def found(**terms):
        return [job.id async for job in client.list_jobs(**terms)]

    assert await found(limit_name="api") == [first.id, second.id]
    assert await found(limit_name="api", limit_key="ä b") == [first.id]
    assert await found(limit_key="x") == [first.id, second.id]
    matching = JobFilter(limit_name="api", limit_key="x")
    assert [change.job_id for change in (await client.cancel_jobs(matching=matching)).changed] == [second.id]


async def test_fairness_keys_have_turns(client):
    await client.fairness.weigh("b", 2)
    await client.submit_jobs([new_job("t", n, fairness_key="a") for n in range(3)])
    other = await client.submit_job("t", 9, fairness_key="b")
    await claimed(client)
    assert (await claimed(client)).job_id == other.id
    assert [(key.key, key.weight, key.waiting, key.running) async for key in client.fairness.list_keys()] == [
        ("a", 1, 2, 1),
        ("b", 2, 0, 1),
    ]
    waiting = [job async for job in client.list_jobs(fairness_key="a", statuses=["unclaimed"])]
    assert [job.fairness_key for job in waiting] == ["a", "a"]
    why = await client.explain_job(waiting[1].id)
    assert (why.fair_turn.key, why.fair_turn.keys_ahead, why.jobs_ahead) == ("a", 0, 1)
    assert [(key.key, key.waiting) for key in (await client.get_stats()).fairness] == [("a", 2), ("b", 0)]


async def test_jobs_are_cancelled_and_revived(client):
    first, second, third = await client.submit_jobs([new_job("t", n, max_attempts=1) for n in range(3)])
    await client.fail_job(await claimed(client), "no")
    assert (await client.cancel_jobs(matching=JobFilter(types=("t",)), dry_run=True)).by_status == {"cancelled": 2}
    changes = await client.cancel_jobs([second.id, "nosuchjob"])
    assert [(change.job_id, change.status) for change in changes.changed] == [(second.id, "cancelled")]
    assert isinstance(changes.refused["nosuchjob"], JobNotFoundError)
    revived = await client.retry_jobs(matching=JobFilter(statuses=("dead",)))
    assert [change.job_id for change in revived.changed] == [first.id]
    assert await third.status() == "unclaimed"
    with pytest.raises(WorkerExecutionError, match="cancelled"):
        await second.result()


async def test_jobs_are_changed_while_they_wait(client):
    delayed, waiting, running = [
        await client.submit_job("t", n, delay_ms=delay_ms) for n, delay_ms in ((1, 60_000), (2, 0), (3, 0))
    ]
    assert (await client.run_jobs(matching=JobFilter(types=("t",)), dry_run=True)).by_status == {"unclaimed": 1}
    assert await delayed.status() == "scheduled"
    changes = await client.run_jobs([delayed.id])
    assert [(change.job_id, change.status) for change in changes.changed] == [(delayed.id, "unclaimed")]
    changes = await client.update_jobs([waiting.id, "nosuchjob"], delay_ms=60_000, priority=7, metadata={"a": "b"})
    assert [(change.job_id, change.status) for change in changes.changed] == [(waiting.id, "scheduled")]
    assert isinstance(changes.refused["nosuchjob"], JobNotFoundError)
    job = await client.get_job(waiting.id)
    assert (job.priority, job.metadata, job.run_at > job.created_at) == (7, {"a": "b"}, True)
    changed = await client.update_payload(waiting.id, {"n": 4})
    assert (changed.status, (await client.get_job(waiting.id)).value()) == ("scheduled", {"n": 4})
    await client.update_jobs([waiting.id], metadata={})
    assert not (await client.get_job(waiting.id)).metadata
    begun = await claimed(client)
    assert begun.job_id == running.id
    with pytest.raises(BrokerProtocolError, match="only a job that waits can be changed"):
        await client.update_payload(running.id, 5)
    everywhere = await client.update_jobs(matching=JobFilter(types=("t",)), priority=-1)
    assert sorted(change.job_id for change in everywhere.changed) == sorted([delayed.id, waiting.id])


async def test_an_explanation(client):
    handle = await client.submit_job("t", 1, delay_ms=60_000)
    explanation = await client.explain_job(handle.id)
    assert (explanation.status, explanation.reasons[0]) == ("scheduled", "delayed")
    assert explanation.run_at > 0


async def test_events_are_watched(client, connect):
    events = client.watch(types=["t"], stats_interval_ms=100)
    while not isinstance(await anext(events), Stats):
        pass
    async with connect() as other:
        handle = await other.submit_job("t", 1)
        await other.submit_job("u", 1)
        await other.complete_job(await claimed(other))
    kinds = []
    while "completed" not in kinds:
        event = await anext(events)
        if not isinstance(event, Stats):
            assert (event.job_id, event.type) == (handle.id, "t")
            kinds.append(event.kind)
    assert [kind for kind in kinds if kind != "ready"] == ["submitted", "claimed", "completed"]
    await events.aclose()


async def test_a_watch_goes_on_where_another_ended(client):
    transport = client.new_transport()
    frames = transport.watch_jobs(WatchRequest(types=["t"], stats_interval_ms=100))
    await anext(frames)
    first = await client.submit_job("t", 1)
    while not (frame := await anext(frames)).events:
        pass
    assert [event.job_id for event in frame.events] == [first.id]
    assert frame.position is not None
    await frames.aclose()
    again = transport.watch_jobs(WatchRequest(types=["t"], stats_interval_ms=100, after=frame.position))
    assert (await anext(again)).resync is None
    await client.submit_job("t", 2)
    await again.aclose()
    later = transport.watch_jobs(WatchRequest(types=["t"], stats_interval_ms=100, after=frame.position))
    assert (await anext(later)).resync is not None
    await later.aclose()
    await transport.close()


# --- what goes wrong --------------------------------------------------------------------------------------------------

STALE = Lease("nosuchjob", "w1", "t")

REFUSALS = [
    (lambda c: c.get_job("nosuchjob"), JobNotFoundError, "JOB_NOT_FOUND", []),
    (lambda c: c.explain_job("nosuchjob"), JobNotFoundError, "JOB_NOT_FOUND", []),
    (lambda c: c.wait_job("nosuchjob", 1_000), JobNotFoundError, "JOB_NOT_FOUND", []),
    (lambda c: c.cancel_job("nosuchjob"), JobNotFoundError, "JOB_NOT_FOUND", []),
    (lambda c: c.complete_job(STALE), JobNotFoundError, "JOB_NOT_FOUND", []),
    (lambda c: c.heartbeat(STALE), JobNotFoundError, "JOB_NOT_FOUND", []),
    (lambda c: c.fail_job(STALE, "no"), JobNotFoundError, "JOB_NOT_FOUND", []),
    (lambda c: c.release_job(STALE), JobNotFoundError, "JOB_NOT_FOUND", []),
    (lambda c: c.submit_job("a b", 1), BrokerProtocolError, "INVALID_REQUEST", ["type"]),
    (lambda c: c.submit_job("t", b""), BrokerProtocolError, "INVALID_REQUEST", ["payload"]),
    (lambda c: c.submit_job("t", 1, max_attempts=0), BrokerProtocolError, "INVALID_REQUEST", ["max_attempts"]),
    (lambda c: c.submit_job("t", b"x" * 1_048_577), BrokerProtocolError, "PAYLOAD_TOO_LARGE", ["payload"]),
    (
        lambda c: c.submit_jobs([new_job("t", 1), new_job("t", 1, lease_ms=1)]),
        BrokerProtocolError,
        "INVALID_REQUEST",
        ["jobs[1].lease_ms"],
    ),
    (lambda c: c.claim_job(""), BrokerProtocolError, "INVALID_REQUEST", ["worker_id"]),
    (lambda c: c.claim_jobs("w1", max_jobs=1_001), BrokerProtocolError, "INVALID_REQUEST", ["max_jobs"]),
    (lambda c: anext(c.list_jobs(page_size=-1)), BrokerProtocolError, "INVALID_REQUEST", ["page_size"]),
    (lambda c: anext(c.list_jobs(statuses=["odd"])), BrokerProtocolError, "INVALID_REQUEST", ["filter.statuses[0]"]),
    (lambda c: anext(c.watch(stats_interval_ms=1)), BrokerProtocolError, "INVALID_REQUEST", ["stats_interval_ms"]),
]


@pytest.mark.parametrize(("call", "kind", "reason", "fields"), REFUSALS)
async def test_a_refusal_is_the_same_everywhere(client, call, kind, reason, fields):
    with pytest.raises(kind) as refused:
        await call(client)
    error = refused.value
    assert (type(error), error.reason) == (kind, reason)
    assert error.message
    assert [violation.field for violation in error.violations] == fields
    assert (await client.get_stats()).counts.submitted_total == 0


async def test_a_lost_lease_is_refused(client):
    await client.submit_job("t", 1)
    job = await claimed(client)
    await client.release_job(job)
    await claimed(client)
    for call in (client.complete_job(job), client.heartbeat(job), client.fail_job(job, "no")):
        with pytest.raises(LeaseLostError) as refused:
            await call
        assert refused.value.reason == "LEASE_LOST"


async def test_a_key_with_other_content_is_refused(client):
    first = await client.submit_job("t", 1, idempotency_key="k")
    again = await client.submit_job("t", 1, idempotency_key="k")
    assert (again.id, again.deduplicated) == (first.id, True)
    with pytest.raises(IdempotencyConflictError) as refused:
        await client.submit_job("t", 2, idempotency_key="k")
    assert refused.value.reason == "IDEMPOTENCY_CONFLICT"


async def test_each_for_itself(client):
    results = await client.submit_jobs([new_job("t", 1), new_job("a b", 2), new_job("t", 3)], atomic=False)
    assert [type(result).__name__ for result in results] == ["JobHandle", "BrokerProtocolError", "JobHandle"]
    assert [violation.field for violation in results[1].violations] == ["type"]


async def test_a_repeated_request_happens_once(client):
    transport = client.new_transport()
    jobs = [JobSpec(b"1", "t")]
    answers = [await transport.submit_jobs(jobs, atomic=False, request_id="r", timeout_ms=5_000) for _ in range(2)]
    assert answers[0][0][0].job_id == answers[1][0][0].job_id
    await transport.close()


async def test_a_wrong_token_is_refused(connect):
    async with connect(token="wrong") as client:
        with pytest.raises(AuthError) as refused:
            await client.get_stats()
    assert refused.value.reason == "UNAUTHENTICATED"


@pytest.mark.parametrize("transport", ["grpc", "connect", "another's connect"], indirect=True)
async def test_a_wait_ends_before_the_callers_deadline_where_the_broker_knows_it(client):
    transport = client.new_transport()
    handle = await client.submit_job("t", 1)
    answer = await transport.wait_job(handle.id, wait_ms=30_000, timeout_ms=300)
    assert not answer.job.finished
    await transport.close()


@pytest.mark.parametrize("transport", ["rest", "ws"], indirect=True)
async def test_elsewhere_it_ends_with_an_error(client):
    transport = client.new_transport()
    handle = await client.submit_job("t", 1)
    with pytest.raises(TransportConnectionError, match="did not answer WaitJob within 50 ms") as late:
        await transport.wait_job(handle.id, wait_ms=30_000, timeout_ms=50)
    assert late.value.reason == "DEADLINE_EXCEEDED"
    await transport.close()


@pytest.mark.parametrize("url", ["grpc://127.0.0.1:1", "http://127.0.0.1:1", "ws://127.0.0.1:1"])
async def test_nobody_there(url):
    async with OsqueueClient(url, max_retries=0) as client:
        with pytest.raises(TransportConnectionError, match=r"127\.0\.0\.1:1"):
            await client.get_stats()


async def test_what_a_claim_given_up_has_leased_is_given_back(client, site):
    """Cancelled at any moment of its way, also when the answer has just been sent."""
    for _ in range(10):
        claim = asyncio.ensure_future(client.claim_jobs("w", ["given-up"], wait_ms=30_000))
        await site.waiting_claims(1)
        handle = await client.submit_job("given-up", 1)
        claim.cancel()
        await asyncio.wait([claim])
        while claim.cancelled() and await handle.status() != "unclaimed":
            await asyncio.sleep(0)
        await client.cancel_job(handle.id)
        await site.waiting_claims(0)


async def test_limits_are_put_and_seen_over_every_transport(client):
    assert await client.limits.put("api", max_running=1, rate=Rate(10, 60_000), per_key=True)
    assert not await client.limits.put("api", max_running=1, rate=Rate(10, 60_000, 5), per_key=True)
    await client.limits.override("api", "b", max_running=7)
    first = await client.submit_job("t", {}, limits=[Limit("api", "a")])
    second = await client.submit_job("t", {}, limits=[Limit("api", "a")])
    (granted,) = await client.claim_jobs("w", types=["t"], max_jobs=2)
    assert granted.job_id == first.id
    explanation = await client.explain_job(second.id)
    assert explanation.reasons[0] == "concurrency_limit"
    (block,) = explanation.limits
    assert (block.limit, block.key, block.running, block.max_running) == ("api", "a", 1, 1)
    assert (await client.get_job(second.id)).limits == [Limit("api", "a")]
    info = await client.limits.get("api")
    assert (info.limit.rate, info.limit.max_running, info.running, info.waiting) == (Rate(10, 60_000, 5), 1, 1, 1)
    assert [each.limit.name for each in await client.limits.all()] == ["api"]
    keys = {key.key: key async for key in client.limits.keys("api")}
    assert (keys["a"].running, keys["a"].tokens, keys["a"].at_limit) == (1, 4, True)
    assert keys["b"].override is not None and keys["b"].max_running == 7
    assert [key.key async for key in client.limits.keys("api", at_limit=True)] == ["a"]
    await client.limits.clear_override("api", "b")
    await client.limits.reset("api", "a")
    with pytest.raises(BrokerProtocolError, match="2 live jobs are under"):
        await client.limits.delete("api")
    assert await client.limits.delete("api", detach=True)
    assert not await client.limits.delete("api")
    assert [job.job_id for job in await client.claim_jobs("w", types=["t"], max_jobs=2)] == [second.id]


async def test_what_an_attempt_used_is_told_over_every_transport(client):
    await client.limits.put("tokens", rate=Rate(1_000, 3_600_000), per_key=True)
    for _ in range(4):
        await client.submit_job("t", {}, limits=[Limit("tokens", "a", 100)])
    first, second, third, fourth = await client.claim_jobs("w", types=["t"], max_jobs=4)
    await client.complete_job(first, usage={"tokens": 500})
    assert (await only_key(client)).tokens == 200
    await client.fail_job(second, "no", usage={"tokens": 0})
    assert (await only_key(client)).tokens == 300
    await client.release_job(third)
    assert (await only_key(client)).tokens == 400
    with pytest.raises(BrokerProtocolError, match="is not under the limit"):
        await client.release_job(fourth, limit_backoff={"other": 1_000})
    await client.release_job(fourth, limit_backoff={"tokens": 60_000})
    key = await only_key(client)
    assert (key.tokens, key.at_limit) == (0, True) and key.next_start_at > 0


async def only_key(client):
    (key,) = [key async for key in client.limits.keys("tokens")]
    return key


async def test_a_handler_says_what_it_used_and_that_it_was_too_much(client):
    await client.limits.put("tokens", rate=Rate(1_000, 3_600_000), per_key=True)
    first = await client.submit_job("ask", 300, limits=[Limit("tokens", "a", 100)])
    attempts = []

    async def ask(used, context):
        attempts.append(context.attempt)
        if len(attempts) == 1:
            raise RateLimited(limit="tokens", retry_after_ms=20)
        context.report_usage("tokens", used)

    worker = Worker(client, {"ask": ask})
    running = asyncio.ensure_future(worker.run(handle_signals=False))
    await first.result(timeout_ms=20_000)
    worker.stop()
    await running
    assert attempts == [1, 2] and (await client.get_job(first.id)).attempts == 1
    assert (await only_key(client)).tokens == 600, "the start that was refused took its 100"
