"""The queue that users' tests get: real answers, time that stands still, and assertions that say what they found."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel

from osqueue import (
    ConfigError,
    JobContext,
    JobNotFinishedError,
    JobNotFoundError,
    LeaseLostError,
    OsqueueClient,
    Registry,
    Reject,
    RetryPolicy,
    SyncClient,
    Worker,
    new_job,
)
from osqueue_testing import InProcessQueue, Ran

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Email(BaseModel):
    to: str
    subject: str = "hello"


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.job("email", Email)
    for name in ("double", "first", "other", "page", "report", "second"):
        registry.job(name)
    return registry


@pytest.fixture
def queue(registry: Registry) -> Iterator[InProcessQueue]:
    with InProcessQueue(registry=registry, starts_at=NOON) as queue:
        yield queue


@pytest.fixture
def client(queue: InProcessQueue) -> Iterator[SyncClient]:
    with queue.sync_client() as client:
        yield client


class TestTime:
    def test_it_stands_still(self, queue: InProcessQueue, client: SyncClient) -> None:
        first = client.submit_job("email", Email(to="ada")).job()
        second = client.submit_job("email", Email(to="eve")).job()
        assert queue.now == NOON
        assert first.created_at == second.created_at == NOON.timestamp() * 1_000

    def test_a_delayed_job_is_ready_at_its_moment_and_not_before(
        self, queue: InProcessQueue, client: SyncClient
    ) -> None:
        job = client.submit_job("email", Email(to="ada"), run_at=NOON + timedelta(hours=1))
        queue.advance(minutes=59, seconds=59, milliseconds=999)
        assert job.status() == "scheduled"
        queue.advance(milliseconds=1)
        assert job.status() == "unclaimed"
        assert queue.now == NOON + timedelta(hours=1)

    def test_a_lease_ends_when_its_length_has_passed(self, queue: InProcessQueue, client: SyncClient) -> None:
        job = client.submit_job("email", Email(to="ada"))
        claimed = client.claim_job("w", ["email"], lease_ms=30_000)
        assert claimed is not None
        queue.advance(seconds=29)
        client.heartbeat(claimed)
        queue.advance(seconds=29)
        assert job.status() == "in_progress"
        queue.advance(seconds=1)
        assert job.status() == "unclaimed"
        with pytest.raises(LeaseLostError):
            client.complete_job(claimed)

    def test_a_finished_job_is_kept_for_its_retention(self, queue: InProcessQueue, client: SyncClient) -> None:
        job = client.submit_job("email", Email(to="ada"), retention_ms=60_000)
        queue.run_until_idle_sync({"email": lambda payload: "sent"})
        queue.advance(seconds=59)
        assert job.result(0) == "sent"
        queue.advance(days=1)
        with pytest.raises(JobNotFoundError):
            job.status()

    def test_what_happens_on_the_way_happens_at_its_moment(self, queue: InProcessQueue, client: SyncClient) -> None:
        """The lease ends after 30 s, and the backoff of a minute begins then: not when the hour is over."""
        policy = RetryPolicy(initial_ms=60_000, jitter=0)
        job = client.submit_job("email", Email(to="ada"), retry_policy=policy)
        assert client.claim_job("w", ["email"], lease_ms=30_000) is not None
        queue.advance(hours=1)
        assert job.status() == "unclaimed"
        (attempt,) = job.job().history
        assert attempt.outcome == "expired"
        assert attempt.ended_at - attempt.started_at == pytest.approx(30_000, abs=2)

    def test_it_does_not_go_back(self, queue: InProcessQueue) -> None:
        with pytest.raises(ValueError, match="cannot go back to 2030-01-01T11:59:59"):
            queue.advance_to(NOON - timedelta(seconds=1))
        with pytest.raises(ValueError, match="cannot go back"):
            queue.advance(timedelta(seconds=-1))
        with pytest.raises(ValueError, match="no time zone"):
            queue.advance_to(datetime(2031, 1, 1))
        assert queue.now == NOON

    def test_months_pass_in_an_instant(self, queue: InProcessQueue, client: SyncClient) -> None:
        jobs = [client.submit_job("email", Email(to=str(n)), delay_ms=n * 86_400_000) for n in range(1, 91)]
        queue.advance_to(NOON + timedelta(days=90))
        assert {job.status() for job in jobs} == {"unclaimed"}

    def test_callers_wait_in_real_time(self, queue: InProcessQueue, client: SyncClient) -> None:
        job = client.submit_job("email", Email(to="ada"))
        with pytest.raises(JobNotFinishedError):
            job.result(timeout_ms=50)
        assert client.claim_job("w", ["other"], wait_ms=50) is None

    def test_a_waiting_claim_is_served_when_time_makes_a_job_ready(
        self, queue: InProcessQueue, client: SyncClient
    ) -> None:
        client.submit_job("email", Email(to="ada"), delay_ms=60_000)
        found: list[object] = []
        waiting = threading.Thread(target=lambda: found.append(client.claim_job("w", ["email"], wait_ms=20_000)))
        waiting.start()
        queue.advance(minutes=1)
        waiting.join()
        assert found != [None]


class TestRunning:
    def test_what_handlers_enqueue_is_done_too_by_whichever_worker(
        self, queue: InProcessQueue, client: SyncClient
    ) -> None:
        done: list[str] = []

        def first(payload: str) -> None:
            done.append(f"first {payload}")
            if payload != "end":
                client.submit_job("second", payload)

        def second(payload: str) -> None:
            done.append(f"second {payload}")
            client.submit_job("first", "end")

        client.submit_job("first", "begin")
        assert queue.run_until_idle_sync({"first": first}, {"second": second}) == Ran(completed=3)
        assert done == ["first begin", "second begin", "first end"]

    def test_failures_are_counted_and_retries_that_need_no_waiting_are_made(
        self, queue: InProcessQueue, client: SyncClient
    ) -> None:
        def flaky(payload: Email, context: JobContext) -> str:
            if context.attempt < 3:
                raise ConnectionError("no")
            return "sent"

        job = client.submit_job("email", Email(to="ada"))
        assert queue.run_until_idle_sync({"email": flaky}) == Ran(completed=1, failed=2)
        assert job.result(0) == "sent"

    def test_backoff_waits_until_time_is_moved(self, queue: InProcessQueue, client: SyncClient) -> None:
        tried: list[datetime] = []

        def flaky(payload: Email) -> None:
            tried.append(queue.now)
            raise ConnectionError("no")

        policy = RetryPolicy(initial_ms=60_000, multiplier=10, jitter=0)
        job = client.submit_job("email", Email(to="ada"), retry_policy=policy)
        assert queue.run_until_idle_sync({"email": flaky}) == Ran(failed=1)
        assert job.status() == "scheduled"
        assert queue.run_through_sync(timedelta(hours=1), {"email": flaky}) == Ran(failed=2)
        assert job.status() == "dead"
        minutes = [(moment - NOON) / timedelta(minutes=1) for moment in tried]
        assert minutes == pytest.approx([0, 1, 11], abs=0.001)
        assert queue.now == NOON + timedelta(hours=1)

    def test_jobs_of_other_types_are_left_alone(self, queue: InProcessQueue, client: SyncClient) -> None:
        other = client.submit_job("other", 1)
        assert queue.run_until_idle_sync({"email": print}) == Ran()
        assert queue.run_through_sync(timedelta(days=1), {"email": print}) == Ran()
        assert other.status() == "unclaimed"

    def test_a_worker_may_be_run_again_and_again(self, queue: InProcessQueue) -> None:
        worker = Worker(queue.client(), {"email": lambda payload: payload.to})
        with queue.sync_client() as client:
            for name in ("ada", "eve"):
                job = client.submit_job("email", Email(to=name))
                assert queue.run_until_idle_sync(worker) == Ran(completed=1)
                assert job.result(0) == name

    async def test_in_the_tests_own_loop(self, queue: InProcessQueue) -> None:
        loop = asyncio.get_running_loop()
        seen: list[bool] = []

        async def send(payload: Email) -> None:
            seen.append(asyncio.get_running_loop() is loop)

        async with queue.client() as client:
            await client.submit_job("email", Email(to="ada"))
            await client.submit_job("email", Email(to="eve"), delay_ms=1_000)
            assert await queue.run_until_idle({"email": send}) == Ran(completed=1)
            queue.advance(seconds=1)
            queue.assert_enqueued("email", count=2)
            assert await queue.run_until_idle(Worker(client, {"email": send})) == Ran(completed=1)
            assert await queue.run_through(timedelta(days=1), Worker(client, {"email": send})) == Ran()
        assert seen == [True, True]

    async def test_beside_a_worker_that_runs_all_the_time(self, queue: InProcessQueue) -> None:
        async def double(payload: int) -> int:
            return payload * 2

        async with queue.client() as client:
            worker = Worker(client, {"double": double})
            working = asyncio.create_task(worker.run(handle_signals=False))
            assert await client.submit_and_wait("double", 21) == 42
            late = await client.submit_job("double", 4, delay_ms=3_600_000)
            queue.advance(hours=1)
            assert await late.result(20_000) == 8
            worker.stop()
            await working

    def test_somebody_must_work(self, queue: InProcessQueue) -> None:
        with pytest.raises(TypeError, match="give a worker"):
            queue.run_until_idle_sync()


class TestAssertions:
    @pytest.fixture(autouse=True)
    def enqueue(self, client: SyncClient) -> None:
        client.submit_job("email", Email(to="ada", subject="Welcome"), priority=5)
        client.submit_job("email", Email(to="eve"))
        client.submit_job("report", {"year": 2030, "for": {"name": "ada", "id": 7}})

    def test_what_was_enqueued_is_returned_for_a_closer_look(self, queue: InProcessQueue) -> None:
        (job,) = queue.assert_enqueued("email", matching={"to": "ada"}, count=1)
        assert job.priority == 5
        assert len(queue.assert_enqueued("email")) == 2
        assert [job.type for job in queue.enqueued()] == ["email", "email", "report"]

    def test_a_mapping_matches_what_has_all_of_it_at_every_depth(self, queue: InProcessQueue) -> None:
        queue.assert_enqueued("report", matching={"for": {"name": "ada"}}, count=1)
        queue.assert_enqueued("report", matching={}, count=1)
        queue.assert_not_enqueued("report", matching={"for": {"name": "eve"}})
        queue.assert_not_enqueued("report", matching={"for": {"name": "ada", "age": 36}})
        queue.assert_not_enqueued("report", matching={"year": {"name": "ada"}})

    def test_a_function_gets_the_typed_payload(self, queue: InProcessQueue, registry: Registry) -> None:
        queue.assert_enqueued("email", matching=lambda email: email.to.startswith("a"), count=1)
        queue.assert_enqueued(registry["email"], matching=lambda email: isinstance(email, Email), count=2)
        queue.assert_enqueued("report", matching=lambda payload: payload["year"] == 2030)

    def test_anything_else_is_compared(self, queue: InProcessQueue) -> None:
        queue.assert_enqueued("email", matching=Email(to="eve"), count=1)
        queue.assert_not_enqueued("email", matching=Email(to="eve", subject="Welcome"))
        queue.assert_not_enqueued("report", matching="eve")

    def test_a_payload_that_is_not_what_its_type_says_is_compared_as_json(
        self, queue: InProcessQueue, client: SyncClient
    ) -> None:
        with SyncClient(queue.url) as careless:
            careless.submit_job("email", [1, 2])
        queue.assert_enqueued("email", matching=[1, 2], count=1)

    def test_whatever_became_of_a_job_it_was_enqueued(self, queue: InProcessQueue, client: SyncClient) -> None:
        def refuse(payload: object) -> None:
            raise Reject("never")

        queue.run_until_idle_sync({"email": lambda payload: None, "report": refuse})
        queue.assert_enqueued("email", count=2)
        (report,) = queue.assert_enqueued("report", count=1)
        assert report.status == "dead"

    def test_the_message_says_what_was_enqueued_instead(self, queue: InProcessQueue) -> None:
        with pytest.raises(AssertionError) as failure:
            queue.assert_enqueued("email", matching={"to": "bob"})
        assert str(failure.value).splitlines() == [
            "a job of type 'email' with a payload matching {'to': 'bob'} was never enqueued. These were enqueued:",
            "  email {'to': 'ada', 'subject': 'Welcome'} is unclaimed",
            "  email {'to': 'eve', 'subject': 'hello'} is unclaimed",
            "  report {'year': 2030, 'for': {'name': 'ada', 'id': 7}} is unclaimed",
        ]
        with pytest.raises(AssertionError, match="was enqueued 2 times, not 1"):
            queue.assert_enqueued("email", count=1)
        with pytest.raises(AssertionError, match="a job of type 'email' was enqueued 2 times"):
            queue.assert_not_enqueued("email")
        with pytest.raises(AssertionError, match=r"^a job was enqueued 3 times"):
            queue.assert_not_enqueued()

    def test_a_message_stays_short(self, queue: InProcessQueue, client: SyncClient) -> None:
        for number in range(20):
            client.submit_job("page", "x" * 1_000 + str(number))
        with pytest.raises(AssertionError) as failure:
            queue.assert_enqueued("nothing")
        assert "and 13 more" in str(failure.value)
        assert len(str(failure.value)) < 4_000

    def test_where_jobs_were_forgotten_it_says_so_instead_of_guessing(self, queue: InProcessQueue) -> None:
        queue.run_until_idle_sync({"email": lambda payload: None})
        queue.advance(days=1)
        with pytest.raises(AssertionError, match="2 more jobs were enqueued and are forgotten by now"):
            queue.assert_enqueued("email")
        with pytest.raises(AssertionError, match="as far as can be seen"):
            queue.assert_enqueued("report", count=1)
        with pytest.raises(AssertionError, match="as far as can be seen"):
            queue.assert_not_enqueued("invoice")
        queue.assert_enqueued("report")

    async def test_in_a_test_with_a_loop(self, queue: InProcessQueue) -> None:
        queue.assert_enqueued("email", count=2)


class TestLife:
    def test_nothing_was_enqueued_in_a_new_one(self, queue: InProcessQueue) -> None:
        queue.assert_not_enqueued()
        with pytest.raises(AssertionError, match="Nothing was enqueued"):
            queue.assert_enqueued("email")

    def test_each_has_jobs_of_its_own(self, queue: InProcessQueue, client: SyncClient) -> None:
        client.submit_job("email", Email(to="ada"))
        with InProcessQueue() as other:
            other.assert_not_enqueued()

    def test_without_with(self) -> None:
        queue = InProcessQueue(settings={"OSQUEUE_LIMIT_JOBS": "1"})
        with pytest.raises(RuntimeError, match="not started"):
            queue.enqueued()
        queue.start()
        try:
            queue.assert_not_enqueued()
        finally:
            queue.close()

    def test_a_client_by_address(self, queue: InProcessQueue) -> None:
        async def submit() -> None:
            async with OsqueueClient(queue.url) as client:
                await client.submit_job("email", {"to": "ada"})

        asyncio.run(submit())
        queue.assert_enqueued("email", count=1)

    def test_its_threads_end_with_it(self) -> None:
        before = threading.active_count()
        with InProcessQueue() as queue:
            queue.run_until_idle_sync({"email": lambda payload: None})
        for thread in threading.enumerate():
            if thread.name in ("broker", "osqueue-client"):
                thread.join(10)
        assert threading.active_count() <= before


class TestSchedules:
    def test_a_schedule_fires_as_time_is_moved_on(self, queue: InProcessQueue, client: SyncClient) -> None:
        client.schedules.put("nightly", new_job("report", {"of": "sales"}), cron="0 2 * * *", time_zone="Europe/Berlin")
        queue.advance(hours=12)
        queue.assert_not_enqueued("report")
        queue.advance(hours=2)
        (job,) = queue.enqueued("report", matching={"of": "sales"})
        assert datetime.fromtimestamp(job.scheduled_for / 1_000, UTC) == datetime(2030, 1, 2, 1, tzinfo=UTC)
        queue.advance(days=3)
        info = client.schedules.get("nightly")
        assert (info.tally.fired, info.tally.skipped) == (1, 3)
        assert job.id in info.message

    async def test_a_decorated_handler_runs_at_its_times(self, queue: InProcessQueue) -> None:
        ran: list[int] = []
        async with queue.client() as client:
            worker = Worker(client)

            @worker.schedule("0 9 * * MON-FRI", tz="Europe/Berlin", payload={"to": "all"})
            async def remind(payload: dict[str, str], context: JobContext) -> None:
                assert payload == {"to": "all"}
                ran.append(context.job.scheduled_for)

            await worker.run(until_idle=True, handle_signals=False)
            assert ran == []
            await client.schedules.get("remind")
            queue.advance(days=1)
            await worker.run(until_idle=True, handle_signals=False)
        assert [datetime.fromtimestamp(at / 1_000, UTC).hour for at in ran] == [8]
        assert await_revision(queue) == 1, "a worker that starts again leaves the schedule as it is"

    def test_a_name_that_is_there_already_is_refused(self, queue: InProcessQueue) -> None:
        worker = Worker(queue.client())
        worker.schedule(every_ms=1_000, name="twice")(print)
        with pytest.raises(ConfigError, match="twice"):
            worker.schedule(every_ms=1_000, name="twice")(print)
        with pytest.raises(ConfigError, match="not as both"):
            worker.schedule("@daily", tz="UTC", time_zone="UTC", name="zones")(print)


def await_revision(queue: InProcessQueue) -> int:
    with queue.sync_client() as client:
        return client.schedules.get("remind").revision
