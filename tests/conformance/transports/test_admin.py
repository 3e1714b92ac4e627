"""An operator's calls answer alike over every transport."""

import asyncio

import pytest

from osqueue import BrokerProtocolError, Job, JobError, JobFilter, JobNotFoundError, QueueRoot, SyncClient, new_job
from tests.conformance.transports.conftest import TOKEN


async def finish(client, job_type, count, *, error=""):
    """So many finished jobs of the type, dead of the error if there is one; their ids."""
    await client.submit_jobs([new_job(job_type, n, max_attempts=1) for n in range(count)])
    jobs = await client.claim_jobs("w1", [job_type], max_jobs=count)
    for job in jobs:
        if error:
            await client.fail_job(job, JobError(error, f"no luck with {job.value()}"), retryable=False)
        else:
            await client.complete_job(job)
    return [job.job_id for job in jobs]


async def test_the_root_names_the_leader(client, site):
    await client.submit_job("t", 1)
    root = await client.admin.root()
    assert (root.grpc_address, root.epoch, root.jobs_total) == (site.broker, 1, 1)
    assert root.incarnation and root.format > 0 and root.broker_heartbeat > 0


async def test_the_state_is_the_root_and_every_live_job(client):
    await finish(client, "done", 2)
    handles = await client.submit_jobs([new_job("t", {"n": n}, metadata={"n": str(n)}) for n in range(1_000)])
    root, *jobs = [part async for part in client.admin.state()]
    assert isinstance(root, QueueRoot) and (root.jobs_total, root.completed_total) == (1_000, 2)
    assert all(isinstance(job, Job) for job in jobs)
    assert [job.id for job in jobs] == [handle.id for handle in handles]
    assert (jobs[7].value(), jobs[7].metadata, jobs[7].status) == ({"n": 7}, {"n": "7"}, "unclaimed")


async def test_workers_are_listed(client):
    await client.submit_job("t", 1)
    job = await client.claim_job("w2", ["t"])
    await client.claim_jobs("w1", ["a", "b"], worker_version="1.2.3")
    first, second = [worker async for worker in client.admin.workers()]
    assert (first.worker_id, first.types, first.version, first.leases) == ("w1", ["a", "b"], "1.2.3", 0)
    assert (second.worker_id, second.leases, second.job_ids) == ("w2", 1, [job.job_id])
    assert second.last_seen_at >= second.first_seen_at > 0


async def test_types_are_paused_and_resumed(client):
    await client.submit_job("mail", 1)
    assert await client.admin.pause(["mail", "", "nobody-submits-it"]) == ["", "mail", "nobody-submits-it"]
    assert await client.claim_job("w1", ["mail"]) is None
    assert sorted(await client.admin.paused_types()) == ["", "mail", "nobody-submits-it"]
    types = await client.admin.types()
    assert (types["mail"].paused, types["mail"].counts.unclaimed) == (True, 1)
    assert await client.admin.resume(["mail", ""]) == ["nobody-submits-it"]
    assert await client.admin.paused_types() == ["nobody-submits-it"]
    assert await client.claim_job("w1", ["mail"]) is not None


@pytest.mark.parametrize("change", ["pause", "resume"])
async def test_types_that_cannot_be_are_named(client, change):
    for types in ([], ["x" * 1_025], [f"t{n}" for n in range(129)]):
        with pytest.raises(BrokerProtocolError) as refused:
            await getattr(client.admin, change)(types)
        assert refused.value.violations[0].field.startswith("types")


async def test_dead_letters_are_counted_by_error(client):
    await finish(client, "mail", 3, error="SmtpError")
    await finish(client, "mail", 1, error="KeyError")
    newest = (await finish(client, "other", 2, error="KeyError"))[-1]
    dead = await client.admin.dead_groups(max_groups=2)
    assert [(group.type, group.error_type, group.count) for group in dead.groups] == [
        ("mail", "SmtpError", 3),
        ("other", "KeyError", 2),
    ]
    assert dead.others == 1
    assert (dead.groups[1].sample_message, dead.groups[1].sample_job_ids[0]) == ("no luck with 1", newest)
    assert dead.groups[0].newest_at >= dead.groups[0].oldest_at > 0
    assert len((await client.admin.dead_groups(["mail"])).groups) == 2
    with pytest.raises(BrokerProtocolError, match="max_groups"):
        await client.admin.dead_groups(max_groups=1_001)


async def test_the_history_has_figures(client):
    await finish(client, "t", 3)
    while not (history := await client.admin.history(step_ms=1_000)).points:
        await asyncio.sleep(0)
    assert sum(point.submitted for point in history.points) == 3
    assert history.step_ms == 1_000
    assert all(point.commit_latency.p99_ms >= point.commit_latency.p50_ms for point in history.points)
    assert len((await client.admin.history(max_points=1)).points) == 1
    with pytest.raises(BrokerProtocolError, match="step_ms"):
        await client.admin.history(step_ms=10)


async def test_the_storage_tells_what_it_was_asked_for(client):
    await client.submit_job("t", 1)
    storage = await client.admin.storage()
    assert (storage.backend, storage.throttle, storage.cost) == ("memory", None, None)
    assert storage.commits > 0 and storage.records > 0 and storage.since > 0
    assert {each.operation for each in storage.operations} >= {"put_if_absent"}


async def test_purging_by_filter_and_by_ids(client):
    done = await finish(client, "done", 3)
    dead = await finish(client, "dead", 2, error="E")
    live = await client.submit_job("done", 1)
    would = await client.admin.purge(matching=JobFilter(types=("dead",)), dry_run=True)
    assert [(each.job_id, each.status) for each in would.changed] == [(job_id, "dead") for job_id in dead]
    assert (await client.get_job(dead[0])).status == "dead"
    purged = await client.admin.purge(matching=JobFilter(types=("dead",)))
    assert [each.job_id for each in purged.changed] == dead
    some = await client.admin.purge([done[0], live.id, "nope"])
    assert dict(some.by_status) == {"completed": 1}
    assert {job_id: type(error) for job_id, error in some.refused.items()} == {
        live.id: BrokerProtocolError,
        "nope": JobNotFoundError,
    }
    with pytest.raises(BrokerProtocolError, match="either ids or a filter"):
        await client.admin.purge()


async def test_more_than_one_page_is_purged(client):
    ids = [handle.id for handle in await client.submit_jobs([new_job("t", n) for n in range(1_000)])]
    ids += [handle.id for handle in await client.submit_jobs([new_job("t", n) for n in range(200)])]
    await client.cancel_jobs(ids)
    assert len((await client.admin.purge(matching=JobFilter(statuses=("cancelled",)))).changed) == 1_200


async def test_the_leader_hands_over(client):
    await client.submit_job("t", 1)
    before = await client.admin.root()
    commit = await client.admin.step_down(reason="new disks")
    assert commit is not None and commit.epoch == before.epoch
    while (await client.admin.root()).epoch == before.epoch:
        await asyncio.sleep(0)
    assert (await client.admin.root()).jobs_total == 1


async def test_a_wrong_token_is_refused(connect):
    async with connect(token="wrong", max_retries=0) as client:
        for call in (client.admin.root, client.admin.storage, client.admin.dead_groups, client.admin.history):
            with pytest.raises(Exception) as refused:
                await call()
            assert refused.value.tag == "AuthError", call


async def test_the_synchronous_client_has_the_same_calls(site, transport):
    def operate():
        with SyncClient(f"http://{site.gateway}", transport="ws" if transport == "ws" else None, token=TOKEN) as client:
            client.submit_job("t", 1)
            root, job = client.admin.state()
            assert isinstance(job, Job)
            assert client.admin.root().epoch == root.epoch
            assert client.admin.pause(["t"]) == client.admin.paused_types() == ["t"]
            assert client.admin.resume("t") == []
            client.claim_job("w", ["t"])
            assert [worker.worker_id for worker in client.admin.workers()] == ["w"]

    await asyncio.to_thread(operate)
