"""Encrypted jobs from a producer to a worker, and what of them the store ever holds."""

import asyncio
import contextlib

import pytest
import zstandard

from osqueue import CodecError, Compression, Encryption, NodeNeed, OsqueueClient, Worker, WorkflowNode, new_job
from osqueue_service.testing.in_process import broker_in_process

OLD, NEW = b"1" * 32, b"2" * 32
SECRET = "Zf3kQ-the-patient-is-called-Ada"
FRAME = b"\x28\xb5\x2f\xfd"


def connected(broker, codecs, **options):
    return OsqueueClient(broker.address, codecs=codecs, retry_delay_ms=10, **options)


async def work(client, handlers, **options):
    await Worker(client, handlers, guarded=False, **options).run(until_idle=True, handle_signals=False)


def stored(directory):
    """Every object's bytes, and everything in it that is compressed."""
    for path in directory.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            yield data
            at = data.find(FRAME)
            while at >= 0:
                with contextlib.suppress(zstandard.ZstdError):  # it only looked like one
                    yield zstandard.ZstdDecompressor().decompressobj().decompress(data[at:])
                at = data.find(FRAME, at + 1)


async def every_way_in(client):
    """A secret in every place that a payload or result can be."""

    async def echo(payload, context):
        context.follow_up("after", {"said": payload})
        return {"heard": payload}

    def fail(payload):
        raise ValueError("no more than this")

    handle = await client.submit_job("echo", SECRET)
    await client.submit_jobs([new_job("echo", SECRET * 50), new_job("echo", SECRET, idempotency_key="once")])
    on_dead = new_job("alarm", {"of": SECRET})
    await client.submit_job("fails", SECRET, max_attempts=1, submit_on_dead=on_dead)
    nodes = [
        WorkflowNode("one", new_job("echo", SECRET)),
        WorkflowNode("two", new_job("needs", SECRET), [NodeNeed("one", pass_result=True)]),
    ]
    await client.submit_workflow("both", nodes)
    await client.schedules.put("nightly", new_job("echo", SECRET), cron="@daily")
    await client.schedules.trigger("nightly")
    seen = []

    async def needs(payload, context):
        seen.append((payload, context.inputs[0].value()))

    kept = {"after": lambda payload: None, "alarm": lambda payload: None}
    await work(client, {"echo": echo, "fails": fail, "needs": needs, **kept})
    assert seen == [(SECRET, {"heard": SECRET})]
    assert await handle.result() == {"heard": SECRET}


async def test_no_plaintext_is_in_any_stored_object(tmp_path):
    async with broker_in_process(data_dir=tmp_path) as broker:
        async with connected(broker, [Compression(), Encryption({"a": OLD})]) as client:
            await every_way_in(client)
            assert (await client.schedules.get("nightly")).schedule.job.payload == f'"{SECRET}"'.encode()
            assert [job.value() async for job in client.list_jobs(types=["after"], statuses=["completed"])]
        objects = list(stored(tmp_path))
    objects += stored(tmp_path)  # and what the end of the broker has left
    assert not [each for each in objects if SECRET.encode() in each]


async def test_a_payload_that_is_changed_while_it_waits_is_encrypted_too(tmp_path):
    heard = []
    async with broker_in_process(data_dir=tmp_path) as broker, connected(broker, Encryption({"a": NEW})) as client:
        handle = await client.submit_job("echo", "old", delay_ms=3_600_000)
        assert (await client.update_payload(handle.id, {"said": SECRET})).status == "scheduled"
        assert (await client.get_job(handle.id)).value() == {"said": SECRET}
        await client.run_jobs([handle.id])
        await work(client, {"echo": heard.append})
    assert heard == [{"said": SECRET}]
    assert not [data for data in stored(tmp_path) if SECRET.encode() in data]


async def test_the_search_finds_what_is_not_encrypted(tmp_path):
    async with broker_in_process(data_dir=tmp_path) as broker:
        async with connected(broker, ()) as client:
            await every_way_in(client)
        assert [each for each in stored(tmp_path) if SECRET.encode() in each]


async def test_keys_are_rotated_while_jobs_wait():
    async with broker_in_process() as broker:
        async with connected(broker, Encryption({"old": OLD})) as before:
            waiting = await before.submit_job("echo", "first")
        both = Encryption({"old": OLD, "new": NEW}, current="new")
        async with connected(broker, both) as client:
            later = await client.submit_job("echo", "second")
            await work(client, {"echo": lambda payload: payload})
            ended = [await client.wait_job(handle.id) for handle in (waiting, later)]
            assert [job.result_value() for job in ended] == ["first", "second"]
        async with connected(broker, Encryption({"new": NEW})) as after:
            with pytest.raises(CodecError, match="encrypted with the key 'old'"):
                (await after.get_job(waiting.id)).value()
            assert (await after.get_job(waiting.id)).result_value() == "first"  # the worker had the new key
            assert (await after.get_job(later.id)).value() == "second"


@pytest.mark.parametrize("pushed", [True, False])
async def test_a_wrong_key_fails_that_job_alone(pushed):
    async with broker_in_process() as broker:
        async with connected(broker, Encryption({"a": NEW})) as stranger:
            lost = await stranger.submit_job("echo", "secret", max_attempts=1)
        async with connected(broker, Encryption({"a": OLD})) as client:
            fine = await client.submit_job("echo", "fine")
            if pushed:
                await work(client, {"echo": lambda payload: payload})
            else:  # by claiming, as a worker without a stream does
                jobs = await client.claim_jobs("w", max_jobs=2)
                assert [job.job_id for job in jobs] == [lost.id, fine.id]
                with pytest.raises(CodecError) as refusal:
                    jobs[0].value()
                await client.fail_job(jobs[0], refusal.value)
                await client.complete_job(jobs[1], jobs[1].value())
            assert await fine.result() == "fine"
            error = (await client.wait_job(lost.id)).error
            assert error.type == "CodecError"
            assert "the payload of a job of the type 'echo' is not what the key 'a'" in error.message


async def test_a_worker_without_codecs_fails_what_is_encrypted():
    async with broker_in_process() as broker:
        async with connected(broker, Encryption({"a": OLD})) as client:
            handle = await client.submit_job("echo", "secret", max_attempts=1)
        async with connected(broker, ()) as client:
            await work(client, {"echo": lambda payload: payload})
            job = await client.get_job(handle.id)
            assert (job.status, job.error.type) == ("dead", "CodecError")
            assert "this client has no codec for it" in job.error.message


async def test_a_repeated_idempotency_key_is_the_same_job():
    async with broker_in_process() as broker, connected(broker, Encryption({"a": OLD})) as client:
        handles = [await client.submit_job("echo", "same", idempotency_key="k") for _ in range(2)]
        assert [handle.deduplicated for handle in handles] == [False, True]


async def test_a_schedule_that_is_put_again_is_the_same():
    async with broker_in_process() as broker, connected(broker, Encryption({"a": OLD})) as client:
        infos = [await client.schedules.put("n", new_job("echo", "same"), cron="@daily") for _ in range(2)]
        assert infos[0].revision == infos[1].revision


async def test_one_callers_broken_codec_stops_no_other_job():
    class Picky(Encryption):
        def encode(self, data, about):
            if b"bad" in data:
                raise RuntimeError("no")
            return super().encode(data, about)

    async with broker_in_process() as broker, connected(broker, Picky({"a": OLD})) as client:
        outcomes = await asyncio.gather(
            *(client.submit_job("echo", word) for word in ("one", "bad", "two")), return_exceptions=True
        )
        assert [isinstance(outcome, CodecError) for outcome in outcomes] == [False, True, False]
