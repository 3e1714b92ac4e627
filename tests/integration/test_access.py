"""Who may do what, against live brokers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from osqueue_protocol.rights import ROLES
from osqueue_protocol.rpcs import CLIENT_RPCS, RPCS, Rpc
from osqueue_service.app import App
from osqueue_service.rpc.access.withholding import DATA, withhold
from osqueue_service.testing.in_process import broker_in_process
from osqueue_stubs.osqueue.v1 import (
    access_pb2,
    access_pb2_grpc,
    admin_pb2,
    admin_pb2_grpc,
    job_pb2,
    queue_pb2,
    queue_pb2_grpc,
)
from tests.calls import refused
from tests.filling import filled

BOOT = (("authorization", "Bearer s3cret"),)


def bearing(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


class Door:
    """A broker with a token, and the ways in."""

    def __init__(self, app: App, channel: grpc.aio.Channel) -> None:
        self.app = app
        self.channel = channel
        self.access = access_pb2_grpc.AccessServiceStub(channel)
        self.queue = queue_pb2_grpc.QueueServiceStub(channel)

    async def token(self, *scopes: str, **other: Any) -> tuple[tuple[str, str], ...]:
        request = access_pb2.CreateTokenRequest(scopes=scopes, **other)
        return bearing((await self.access.CreateToken(request, metadata=BOOT)).token)

    async def call(self, rpc: Rpc, metadata: Any, queue: str = "") -> None:
        """One call, ended once it was let in: streams after nothing more than their beginning."""
        request = rpc.request(queue=queue).SerializeToString() if queue else b""
        if rpc.name == "WatchJobs":
            request = queue_pb2.WatchJobsRequest(stats_interval_ms=1_000, queue=queue).SerializeToString()
        if rpc.client_streaming:
            call = self.channel.stream_stream(rpc.path)(iter([request]), metadata=metadata)
            async for _ in call:
                break
        elif rpc.server_streaming:
            stream = self.channel.unary_stream(rpc.path)(request, metadata=metadata)
            await stream.read()
            stream.cancel()
        else:
            await self.channel.unary_unary(rpc.path)(request, metadata=metadata)

    async def outcome(self, rpc: Rpc, metadata: Any, queue: str = "") -> str:
        """How a call ended: "", or the code."""
        try:
            async with asyncio.timeout(30):
                await self.call(rpc, metadata, queue)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return ""


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with (
        broker_in_process(settings={"OSQUEUE_TOKEN": "s3cret"}) as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        yield Door(app, channel)


class TestEveryRpc:
    @pytest.mark.parametrize("metadata", [(), bearing("wrong"), bearing("osq_ci_" + "a" * 26)], ids=["none", "a", "b"])
    async def test_nobody_without_a_token_is_let_in_anywhere(self, door, metadata):
        outcomes = {rpc.name: await door.outcome(rpc, metadata) for rpc in RPCS.values()}
        assert set(outcomes.values()) == {"UNAUTHENTICATED"}

    @pytest.mark.parametrize("role", ROLES)
    async def test_a_role_opens_what_its_scopes_open_and_nothing_else(self, door, role):
        # What is put on a schedule is submitted by it, and needs that right, too.
        scopes = {*ROLES[role], "submit"} if role == "operator" else {*ROLES[role]}
        token = await door.token(*scopes)
        for rpc in CLIENT_RPCS.values():
            if rpc.name == "StepDown" and role in ("operator", "admin"):
                continue  # it would leave the others without a leader
            opens = role == "admin" or rpc.scope == "any" or rpc.scope in scopes
            assert ((await door.outcome(rpc, token)) != "PERMISSION_DENIED") == opens, rpc.name

    async def test_the_missing_scope_is_named(self, door):
        with refused("PERMISSION_DENIED") as refusal:
            await door.queue.CancelJob(queue_pb2.CancelJobRequest(job_id="x"), metadata=await door.token("viewer"))
        assert "CancelJob needs the scope manage" in refusal.message
        assert "has only read" in refusal.message

    async def test_it_is_asked_before_a_byte_of_the_request_is_read(self, door):
        call = door.channel.stream_unary(RPCS["Purge"].path)(metadata=await door.token("operator"))
        with refused("PERMISSION_DENIED"):
            await call

    async def test_two_different_tokens_are_none(self, door):
        with refused("UNAUTHENTICATED") as refusal:
            await door.access.WhoAmI(access_pb2.WhoAmIRequest(), metadata=(*BOOT, *bearing("other")))
        assert "more than one" in refusal.message

    async def test_a_huge_token_is_refused(self, door):
        with refused("UNAUTHENTICATED"):
            await door.access.WhoAmI(access_pb2.WhoAmIRequest(), metadata=bearing("osq_ci_" + "a" * 7_000))


class TestQueues:
    """A scope may end with the queues that it is for."""

    @pytest.fixture
    async def door(self, door):
        admin = admin_pb2_grpc.AdminServiceStub(door.channel)
        for name in ("billing", "other"):
            await admin.CreateQueue(admin_pb2.CreateQueueRequest(name=name), metadata=BOOT)
        return door

    async def test_a_token_for_one_queue_opens_every_call_there_and_none_elsewhere(self, door):
        token = await door.token("admin@billing")
        for rpc in CLIENT_RPCS.values():
            if rpc.scope == "any":
                continue
            if rpc.names_queue:
                assert await door.outcome(rpc, token, "billing") != "PERMISSION_DENIED", rpc.name
                assert await door.outcome(rpc, token, "other") == "PERMISSION_DENIED", rpc.name
            assert await door.outcome(rpc, token) == "PERMISSION_DENIED", rpc.name

    async def test_a_token_for_the_default_queue_opens_no_other(self, door):
        token = await door.token("admin@default")
        for rpc in CLIENT_RPCS.values():
            if rpc.names_queue and rpc.scope != "any":
                assert await door.outcome(rpc, token, "billing") == "PERMISSION_DENIED", rpc.name
        assert await door.outcome(RPCS["GetStats"], token) == ""

    async def test_queues_are_chosen_by_patterns_and_named_in_refusals(self, door):
        token = await door.token("read@b*", "manage")
        await door.queue.GetStats(queue_pb2.GetStatsRequest(queue="billing"), metadata=token)
        with refused("PERMISSION_DENIED") as refusal:
            await door.queue.GetStats(queue_pb2.GetStatsRequest(queue="other"), metadata=token)
        assert "GetStats needs the scope read in the queue 'other'" in refusal.message
        assert "read@b*" in refusal.message

    async def test_types_and_data_are_those_of_the_queue(self, door):
        token = await door.token("submit:email@billing", "submit:sms@other", "read", "read.payload@billing")
        email = {"type": "email", "payload": b"1"}
        submitted = await door.queue.SubmitJob(queue_pb2.SubmitJobRequest(**email, queue="billing"), metadata=token)
        with refused("PERMISSION_DENIED") as refusal:
            await door.queue.SubmitJob(queue_pb2.SubmitJobRequest(**email, queue="other"), metadata=token)
        assert "may submit only jobs of sms" in refusal.message
        sms = queue_pb2.SubmitJobRequest(type="sms", payload=b"2", queue="other")
        elsewhere = await door.queue.SubmitJob(sms, metadata=token)
        shown = queue_pb2.GetJobRequest(job_id=submitted.job_id, queue="billing")
        assert (await door.queue.GetJob(shown, metadata=token)).job.payload == b"1"
        hidden = queue_pb2.GetJobRequest(job_id=elsewhere.job_id, queue="other")
        assert (await door.queue.GetJob(hidden, metadata=token)).job.payload == b""


class TestTypes:
    async def test_a_producer_submits_its_types_alone(self, door):
        token = await door.token("submit:email.*")
        await door.queue.SubmitJob(queue_pb2.SubmitJobRequest(type="email.a", payload=b"1"), metadata=token)
        for type_name in ("sms", ""):
            with refused("PERMISSION_DENIED") as refusal:
                await door.queue.SubmitJob(queue_pb2.SubmitJobRequest(type=type_name, payload=b"1"), metadata=token)
            assert "email.*" in refusal.message

    async def test_one_job_of_another_type_refuses_an_atomic_batch_and_itself_in_others(self, door):
        token = await door.token("submit:email")
        jobs = [queue_pb2.SubmitJobRequest(type=name, payload=b"1") for name in ("email", "sms")]
        with refused("PERMISSION_DENIED") as refusal:
            await door.queue.SubmitJobs(queue_pb2.SubmitJobsRequest(jobs=jobs), metadata=token)
        assert "jobs[1]" in refusal.message
        answer = await door.queue.SubmitJobs(queue_pb2.SubmitJobsRequest(jobs=jobs, atomic=False), metadata=token)
        assert answer.results[0].submitted.job_id
        assert answer.results[1].error.reason == job_pb2.ERROR_REASON_PERMISSION_DENIED
        stats = await door.queue.GetStats(queue_pb2.GetStatsRequest(), metadata=BOOT)
        assert stats.total == 1

    async def test_a_worker_claims_its_types_alone(self, door):
        token = await door.token("work:email.*")
        claim = queue_pb2.ClaimJobRequest(worker_id="w", types=["email.a"])
        assert not (await door.queue.ClaimJob(claim, metadata=token)).job_id
        for types in ([], ["sms"], ["email.a", "sms"]):
            with refused("PERMISSION_DENIED") as refusal:
                await door.queue.ClaimJobs(queue_pb2.ClaimJobsRequest(worker_id="w", types=types), metadata=token)
            assert "email.*" in refusal.message

    async def test_a_worker_opens_a_stream_for_its_types_alone(self, door):
        token = await door.token("work:email")
        call = door.queue.Work(metadata=token)
        await call.write(queue_pb2.WorkRequest(open=queue_pb2.WorkOpen(worker_id="w", slots=1)))
        with refused("PERMISSION_DENIED"):
            await call.read()
        call = door.queue.Work(metadata=token)
        await call.write(queue_pb2.WorkRequest(open=queue_pb2.WorkOpen(worker_id="w", types=["email"], slots=1)))
        assert (await call.read()).HasField("opened")
        call.cancel()


class TestData:
    async def test_who_may_read_jobs_and_not_their_data_sees_none(self, door):
        job = queue_pb2.SubmitJobRequest(payload=b'"hush"', metadata={"name": "hush"}, idempotency_key="hush")
        job_id = (await door.queue.SubmitJob(job, metadata=BOOT)).job_id
        claimed = await door.queue.ClaimJob(queue_pb2.ClaimJobRequest(worker_id="w"), metadata=BOOT)
        failure = queue_pb2.FailJobRequest(
            job_id=job_id,
            worker_id="w",
            lease_token=claimed.lease_token,
            error=job_pb2.JobError(type="Boom", message="hush"),
            retryable=False,
        )
        await door.queue.FailJob(failure, metadata=BOOT)
        for scopes, hidden in ((["read"], True), (["read", "read.payload"], False)):
            token = await door.token(*scopes)
            full = queue_pb2.GetJobRequest(job_id=job_id)
            listing = queue_pb2.ListJobsRequest(filter=job_pb2.JobFilter(statuses=["dead"]), view=job_pb2.JOB_VIEW_FULL)
            answers = [
                await door.queue.GetJob(full, metadata=token),
                await door.queue.ListJobs(listing, metadata=token),
            ]
            explained = await door.queue.ExplainJob(queue_pb2.ExplainJobRequest(job_id=job_id), metadata=token)
            assert [b"hush" not in answer.SerializeToString() for answer in answers] == [hidden] * 2
            assert (b"hush" not in explained.SerializeToString()) == hidden

    def test_every_field_that_can_hold_data_is_withheld_or_named_here(self):
        """An answer full of everything, and what is left of it: bytes and labels that are none of a caller's data."""
        left = set()
        for rpc in RPCS.values():
            if rpc.scope != "read":
                continue
            answer = filled(rpc.response)
            withhold(answer)
            left |= set(_data_in(answer))
        assert left == set()
        assert all(name.startswith("osqueue.v1.") for name in DATA)


def _data_in(message: Any) -> list[str]:
    found = []
    for field, value in message.ListFields():
        if field.type == field.TYPE_BYTES or field.full_name in DATA:
            found.append(field.full_name)
        elif field.message_type and field.message_type.GetOptions().map_entry:
            found += [field.full_name] if field.name == "metadata" else []
        elif field.message_type:
            for each in value if not hasattr(value, "ListFields") else [value]:
                found += _data_in(each)
    return found


class TestLifeOfAToken:
    async def test_who_am_i(self, door):
        mine = await door.access.WhoAmI(
            access_pb2.WhoAmIRequest(), metadata=await door.token("viewer", "submit:a", name="screen")
        )
        assert (mine.name, list(mine.scopes)) == ("screen", ["read", "submit:a"])
        boot = await door.access.WhoAmI(access_pb2.WhoAmIRequest(), metadata=BOOT)
        assert (boot.principal, list(boot.scopes)) == ("boot", ["admin"])

    async def test_listing_shows_no_secret(self, door):
        secret = (await door.token("read", name="one"))[0][1].removeprefix("Bearer ")
        await door.token("read", name="two")
        request = access_pb2.ListTokensRequest(page_size=1)
        first = await door.access.ListTokens(request, metadata=BOOT)
        request.page_token = first.next_page_token
        second = await door.access.ListTokens(request, metadata=BOOT)
        assert {each.name for page in (first, second) for each in page.tokens} == {"one", "two"}
        assert not second.next_page_token
        assert secret.rpartition("_")[2].encode() not in first.SerializeToString() + second.SerializeToString()

    async def test_a_rotation_under_load_refuses_no_call(self, door):
        created = await door.access.CreateToken(access_pb2.CreateTokenRequest(scopes=["read"]), metadata=BOOT)
        holder = {"token": created.token}
        over = asyncio.Event()

        async def load() -> int:
            calls = 0
            while not over.is_set():
                await door.queue.GetStats(queue_pb2.GetStatsRequest(), metadata=bearing(holder["token"]))
                calls += 1
            return calls

        loads = [asyncio.create_task(load()) for _ in range(4)]
        for _ in range(5):
            request = access_pb2.RotateTokenRequest(token_id=created.info.id)
            holder["token"] = (await door.access.RotateToken(request, metadata=BOOT)).token
            # Calls under way still show the secret before, which the next rotation ends.
            await door.queue.GetStats(queue_pb2.GetStatsRequest(), metadata=bearing(holder["token"]))
            await asyncio.sleep(0)
            await asyncio.gather(*(door.access.WhoAmI(access_pb2.WhoAmIRequest(), metadata=BOOT) for _ in range(8)))
        over.set()
        assert all(await asyncio.gather(*loads))

    async def test_a_revoked_token_is_dead_at_once_and_its_streams_end(self, door):
        created = await door.access.CreateToken(access_pb2.CreateTokenRequest(scopes=["read", "work"]), metadata=BOOT)
        token = bearing(created.token)
        watch = door.queue.WatchJobs(queue_pb2.WatchJobsRequest(stats_interval_ms=100), metadata=token)
        assert await watch.read()
        work = door.queue.Work(metadata=token)
        await work.write(queue_pb2.WorkRequest(open=queue_pb2.WorkOpen(worker_id="w", slots=1)))
        assert (await work.read()).HasField("opened")
        await door.access.RevokeToken(access_pb2.RevokeTokenRequest(token_id=created.info.id), metadata=BOOT)
        with refused("UNAUTHENTICATED"):
            await door.queue.GetStats(queue_pb2.GetStatsRequest(), metadata=token)
        for stream in (watch, work):
            with refused("UNAUTHENTICATED") as refusal:
                while await stream.read() is not grpc.aio.EOF:
                    pass
            assert "revoked" in refusal.message

    @pytest.mark.parametrize(
        ("request_", "field"),
        [
            (access_pb2.CreateTokenRequest(), "scopes"),
            (access_pb2.CreateTokenRequest(scopes=["reads"]), "scopes"),
            (access_pb2.CreateTokenRequest(scopes=["read"], expires_at=1), "expires_at"),
            (access_pb2.CreateTokenRequest(scopes=["read"], name="n" * 101), "name"),
        ],
    )
    async def test_a_token_that_cannot_be_made_is_refused_by_field(self, door, request_, field):
        with refused("INVALID_REQUEST") as refusal:
            await door.access.CreateToken(request_, metadata=BOOT)
        assert field in refusal.violations

    async def test_a_token_that_is_not_there_is_named(self, door):
        with refused("INVALID_REQUEST") as refusal:
            await door.access.RevokeToken(access_pb2.RevokeTokenRequest(token_id="ghost"), metadata=BOOT)
        assert "token_id" in refusal.violations

    async def test_tokens_survive_the_broker(self, tmp_path):
        settings = {"OSQUEUE_TOKEN": "s3cret"}
        async with broker_in_process(data_dir=tmp_path, settings=settings) as app, channel_to(app) as channel:
            token = await Door(app, channel).token("read")
        async with broker_in_process(data_dir=tmp_path, settings=settings) as app, channel_to(app) as channel:
            await Door(app, channel).queue.GetStats(queue_pb2.GetStatsRequest(), metadata=token)

    async def test_where_nobody_is_asked_for_a_token_none_is_made(self, app):
        async with channel_to(app) as channel:
            access = access_pb2_grpc.AccessServiceStub(channel)
            mine = await access.WhoAmI(access_pb2.WhoAmIRequest())
            assert (mine.principal, list(mine.scopes)) == ("local", ["admin"])
            with refused("INVALID_REQUEST") as refusal:
                await access.CreateToken(access_pb2.CreateTokenRequest(scopes=["read"]))
            assert "OSQUEUE_TOKEN" in refusal.message


def channel_to(app: App) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(app.address)


class TestAudit:
    """Who asked for a change is in the record that made it, and survives the broker."""

    async def entries(self, door: Door, **wanted: Any) -> list[tuple[str, str, int]]:
        answer = await door.access.GetAudit(access_pb2.GetAuditRequest(**wanted), metadata=BOOT)
        return [(each.principal, each.action, each.count) for each in answer.entries]

    async def test_every_change_is_on_record_with_who_asked_for_it(self, door):
        operator = await door.token("operator", "submit", name="ada")
        mine = (await door.access.WhoAmI(access_pb2.WhoAmIRequest(), metadata=operator)).principal
        admin = admin_pb2_grpc.AdminServiceStub(door.channel)
        jobs = [queue_pb2.SubmitJobRequest(type="a", payload=b"1") for _ in range(12)]
        results = (await door.queue.SubmitJobs(queue_pb2.SubmitJobsRequest(jobs=jobs), metadata=operator)).results
        ids = [each.submitted.job_id for each in results]
        await door.queue.ClaimJob(queue_pb2.ClaimJobRequest(worker_id="w"), metadata=BOOT)
        await door.queue.CancelJobs(queue_pb2.CancelJobsRequest(job_ids=ids), metadata=operator)
        await admin.PauseTypes(admin_pb2.PauseTypesRequest(types=["a", "b"]), metadata=operator)
        await admin.ResumeTypes(admin_pb2.ResumeTypesRequest(types=["b"]), metadata=BOOT)
        await admin.Purge(admin_pb2.PurgeRequest(job_ids=ids[1:3]), metadata=BOOT)
        assert await self.entries(door) == [
            ("boot", "purge", 2),
            ("boot", "resume", 1),
            (mine, "pause", 2),
            (mine, "cancel", 12),
        ]
        assert await self.entries(door, principal=mine, action="pause") == [(mine, "pause", 2)]
        assert await self.entries(door, since=2**53) == []
        newest = await door.access.GetAudit(access_pb2.GetAuditRequest(page_size=3), metadata=BOOT)
        assert list(newest.entries[0].names) == ids[1:3]
        assert newest.entries[0].origin.startswith("ipv")
        rest = access_pb2.GetAuditRequest(page_token=newest.next_page_token)
        (oldest,) = (await door.access.GetAudit(rest, metadata=BOOT)).entries
        assert (oldest.action, len(oldest.names)) == ("cancel", 10)

    async def test_it_survives_the_broker(self, tmp_path):
        settings = {"OSQUEUE_TOKEN": "s3cret"}
        for _ in range(2):
            async with broker_in_process(data_dir=tmp_path, settings=settings) as app, channel_to(app) as channel:
                admin = admin_pb2_grpc.AdminServiceStub(channel)
                await admin.PauseTypes(admin_pb2.PauseTypesRequest(types=["a"]), metadata=BOOT)
                await admin.ResumeTypes(admin_pb2.ResumeTypesRequest(types=["a"]), metadata=BOOT)
                found = await self.entries(Door(app, channel))
        assert [action for _, action, _ in found] == ["resume", "pause", "resume", "pause"]

    async def test_who_shows_no_token_leaves_no_name(self, app):
        async with channel_to(app) as channel:
            admin = admin_pb2_grpc.AdminServiceStub(channel)
            await admin.PauseTypes(admin_pb2.PauseTypesRequest(types=["a"]))
            access = access_pb2_grpc.AccessServiceStub(channel)
            assert not (await access.GetAudit(access_pb2.GetAuditRequest())).entries

    @pytest.mark.parametrize(
        ("wanted", "field"),
        [({"action": "delete"}, "action"), ({"since": -1}, "since"), ({"page_size": 1_001}, "page_size"),
         ({"page_token": "x"}, "page_token")],
    )  # fmt: skip
    async def test_what_cannot_be_asked_is_refused_by_field(self, door, wanted, field):
        with refused("INVALID_REQUEST") as refusal:
            await door.access.GetAudit(access_pb2.GetAuditRequest(**wanted), metadata=BOOT)
        assert field in refusal.violations


def test_streams_of_brokers_in_other_loops_are_let_in_as_well():
    """Two brokers of one process, each in a loop of its own: what one awaits is none of the other's."""

    async def watch() -> None:
        async with broker_in_process(settings={"OSQUEUE_TOKEN": "s3cret"}) as app, channel_to(app) as channel:
            stream = Door(app, channel).queue.WatchJobs(
                queue_pb2.WatchJobsRequest(stats_interval_ms=100), metadata=BOOT
            )
            for _ in range(2):
                assert await stream.read()

    for _ in range(2):
        asyncio.run(watch())
