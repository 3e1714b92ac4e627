"""Who uses the queue: producers, workers and operators, each a process with the real SDK client."""

import asyncio
import json
import random
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from osqueue import OsqueueClient
from osqueue.errors import OsqueueError
from osqueue.job import ClaimedJob, JobFilter, JobSpec, Limit, RetryPolicy, Unique
from osqueue.submission import new_job
from osqueue_stubs.osqueue.v1 import admin_pb2
from tests.simulation.joining import joining
from tests.simulation.loop import Node
from tests.simulation.transport import SimTransport

if TYPE_CHECKING:
    from tests.simulation.world import World


class Actor:
    """One process with a client of its own. A killed one comes back as a new process with the same role."""

    role = ""

    def __init__(self, world: "World", number: int) -> None:
        self.world = world
        self.number = number
        self.lives = 0
        self.start()

    def start(self) -> None:
        """Begin a life."""
        self.lives += 1
        world = self.world
        self.name = f"{self.role}{self.number}.{self.lives}"
        self.draw = random.Random(f"{self.name} {world.swarm.seed}")
        self.node = Node(world.loop, self.name)

        self.transport = SimTransport(world, self.node, self.draw.randrange(len(world.brokers)))
        self.node.spawn(self._live(), name=self.role)

    async def _live(self) -> None:
        timeout_ms = self.draw.choice([1_000, 5_000])
        coalesce = self.draw.random() < 0.7
        self.client = OsqueueClient(transport=self.transport, timeout_ms=timeout_ms, coalesce=coalesce)
        await self.run()

    async def run(self) -> None:
        raise NotImplementedError

    def chance(self, behaviour: str) -> bool:
        """Whether to behave so this time; once the trouble is over nobody misbehaves."""
        return self.draw.random() < self.world.swarm.behaviours.get(behaviour, 0.0) and not self.world.calm

    async def pause(self, ms: float) -> None:
        await asyncio.sleep(ms / 1_000)

    def think_ms(self) -> float:
        return self.world.swarm.think_ms * self.draw.expovariate(1.0)

    async def attempt(self, call: Awaitable[Any]) -> Any:
        """The call's answer; None when it failed, which the history tells."""
        try:
            return await call
        except OsqueueError as error:
            self.world.count(f"{type(error).__name__} raised")
            return None


class Producer(Actor):
    """Submits jobs: one at a time, in batches, with keys, again."""

    role = "producer"

    async def run(self) -> None:
        self.count = 0
        while not self.world.calm:
            await self.pause(self.think_ms())
            if self.world.calm:
                return
            if self.chance("batch"):
                jobs = [self.new_job() for _ in range(self.draw.randint(2, 6))]
                await self.perhaps_cancelled(self.client.submit_jobs(jobs, atomic=self.draw.random() < 0.5))
            elif self.world.swarm.behaviours.get("limit") and self.chance("limit"):
                jobs = [self.job_under_limits() for _ in range(self.draw.randint(3, 8))]
                await self.perhaps_cancelled(self.client.submit_jobs(jobs, atomic=False))
            elif self.chance("key"):
                await self.submit_with_key()
            elif self.chance("unique"):
                await self.perhaps_cancelled(self.submit(self.unique_job()))
            elif self.chance("sequence"):
                await self.perhaps_cancelled(self.submit(self.job_in_sequence()))
            else:
                await self.perhaps_cancelled(self.submit(self.new_job()))

    def new_job(self, key: str = "") -> JobSpec:
        self.count += 1
        return self.job_for(f"{self.name}/{self.count}", key)

    def job_for(self, content: str, key: str = "") -> JobSpec:
        if not key and self.chance("large"):
            content += "/" + "x" * self.draw.choice([2_000, 60_000])
        options: dict[str, Any] = {"idempotency_key": key} if key else {}
        draw = self.draw
        if self.chance("delay"):
            options["delay_ms"] = draw.choice([50, 1_000, 5_000])
        if self.chance("retention"):
            options["retention_ms"] = draw.choice([500, 5_000, 60_000])
        if self.chance("timeout"):
            options["timeout_ms"] = draw.choice([800, 3_000])
        if self.chance("lease"):
            options["lease_ms"] = draw.choice([800, 4_000])
        if self.chance("priority"):
            options["priority"] = draw.choice([-5, 1, 10])
        if self.chance("policy"):
            options["retry_policy"] = RetryPolicy(draw.choice([50, 500]), 2.0, 2_000, 0.2)
        options["max_attempts"] = draw.choice([1, 2, 3, 5])
        return new_job(draw.choice(self.world.swarm.types), content.encode(), **options)

    def unique_job(self) -> JobSpec:
        """A job of which there is to be one at a time; what becomes of it differs from call to call."""
        job, draw = self.new_job(), self.draw
        job.type = "mail"
        terms = {"ttl_ms": 500} if draw.random() < 0.2 else {}
        if draw.random() < 0.2:
            job.unique = Unique("started", until="started", on_conflict=draw.choice(["keep", "replace"]))
        else:
            on_conflict = draw.choice(["keep", "replace", "replace_keep_run_at"])
            if_running = draw.choice(["keep", "enqueue_one_after", "enqueue_one_after", "cancel"])
            job.unique = Unique(f"unique{draw.randrange(3)}", "queue", "finished", on_conflict, if_running, **terms)
        return job

    def job_in_sequence(self) -> JobSpec:
        """A job that is to run after those before it."""
        job = self.new_job()
        job.sequence_key, job.sequence_after_dead = f"sequence{self.draw.randrange(3)}", "skip"
        return job

    def job_under_limits(self) -> JobSpec:
        """A job that others hold up while they run, that starts at a pace, or both; mostly with a fairness key."""
        job, draw = self.new_job(), self.draw
        slots, pace = Limit("slots", draw.choice("ab")), Limit("pace")
        job.limits = draw.choice([(slots,), (pace,), (slots, pace), (pace, slots)])
        job.fairness_key = draw.choice(["", "heavy", "heavy", "light"])
        return job

    async def submit(self, job: JobSpec) -> Any:
        """As `submit_job` does it: together with whatever else goes just then."""
        submitted = await self.client._open().submits.call(job, job.wire_bytes)
        if self.chance("await"):
            await self.attempt(self.client.wait_job(submitted.job_id, self.draw.choice([0, 1_000, 8_000])))
        return submitted

    async def submit_with_key(self) -> None:
        """One key, used by several producers at once and again later, now and then for something else."""
        number = self.draw.randrange(30)
        content = f"key{number}"
        if self.chance("conflict"):
            content += " other"
        job = self.job_for(content, f"key{number}")
        job.type = "mail"
        both = [self.attempt(self.submit(job)) for _ in range(self.draw.choice([1, 1, 2]))]
        answers = await asyncio.gather(*both)
        if any(answer is not None and answer.deduplicated for answer in answers):
            self.world.count("deduplicated")

    async def perhaps_cancelled(self, call: Awaitable[Any]) -> None:
        """The call, given up in the middle now and then."""
        if not self.chance("cancel call"):
            await self.attempt(call)
            return
        task = asyncio.ensure_future(self.attempt(call))
        await self.pause(self.draw.choice([0.0, 2.0, 30.0, 200.0]))
        if task.cancel():
            self.world.count("calls cancelled")
        await asyncio.wait({task})


class Worker(Actor):
    """Claims jobs and does all that workers do with them."""

    role = "worker"

    async def run(self) -> None:
        self.keys = 0
        running: set[asyncio.Task[None]] = set()
        types = self.draw.choice([(), (), self.world.swarm.types[:2], self.world.swarm.types])
        while True:
            if self.world.calm:
                types = ()
            jobs = await self.claim(types)
            for job in jobs or ():
                task = asyncio.ensure_future(self.work(job))
                running.add(task)
                task.add_done_callback(running.discard)
            while len(running) >= 4:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            if not jobs:
                await self.pause(self.draw.uniform(5, 100))

    async def claim(self, types: Any) -> list[ClaimedJob] | None:
        wait_ms = self.draw.choice([0, 300, 3_000])
        if self.chance("claim key"):
            return await self.claim_with_key(types, wait_ms)
        call = self.client.claim_jobs(self.name, types, max_jobs=self.draw.choice([1, 1, 3]), wait_ms=wait_ms)
        if not self.chance("cancel call"):
            jobs: list[ClaimedJob] | None = await self.attempt(call)
            return jobs
        task = asyncio.ensure_future(self.attempt(call))
        await asyncio.wait({task}, timeout=self.draw.choice([0.0, 0.005, 0.1, 1.0]))
        if not task.done():
            self.world.count("claims cancelled")
            task.cancel()
            await asyncio.wait({task})
        return None if task.cancelled() else task.result()

    async def claim_with_key(self, types: Any, wait_ms: int) -> list[ClaimedJob] | None:
        """A claim that names itself, made again as after a crash: the same leases while they live."""
        self.keys += 1

        async def claim() -> list[ClaimedJob] | None:
            answer = self.client.claim_jobs(self.name, types, max_jobs=2, wait_ms=wait_ms, claim_key=f"key {self.keys}")
            jobs: list[ClaimedJob] | None = await self.attempt(answer)
            return jobs

        first = await claim()
        if first is not None and self.draw.random() < 0.5:
            return first
        again = await claim()
        if first and again and [job.lease_token for job in first] == [job.lease_token for job in again]:
            self.world.count("claims answered again")
        return again or first

    async def work(self, job: ClaimedJob) -> None:
        world, draw = self.world, self.draw
        if self.chance("vanish"):
            return  # it hangs: no heartbeat, no answer
        duration_ms = draw.choice([0.0, 5.0, 100.0, 600.0])
        if self.chance("slow") or job.timeout_ms:
            duration_ms = draw.choice([3_000.0, 6_000.0])
        beats = self.chance("beat") or job.timeout_ms > 0
        while duration_ms > 0:
            step_ms = min(duration_ms, job.lease_ms / 3, (job.timeout_ms or job.lease_ms) / 3)
            await self.pause(step_ms)
            duration_ms -= step_ms
            if beats and duration_ms > 0:
                running_ms = draw.choice([None, 0, round(step_ms)])
                await self.attempt(self.client.heartbeat(job, running_ms=running_ms))
                if running_ms is not None and job.timeout_ms:
                    world.count("running times told")
        await self.add(job)
        call = self.ending(job)
        await self.attempt(call())
        if self.chance("repeat"):
            await self.pause(draw.choice([0.0, 50.0, 3_000.0]))
            world.count("actions repeated")
            await self.attempt(call())
        elif self.chance("late"):
            await self.attempt(self.client.complete_job(job, b"late"))

    async def add(self, job: ClaimedJob) -> None:
        """More for the batch or the workflow that this job belongs to, now and then."""
        call = joining(job, self.draw) if self.chance("join") else None
        if call is not None and await self.attempt(self.transport.wire_call(*call)) is not None:
            self.world.count("jobs added by members")

    def ending(self, job: ClaimedJob) -> Any:
        """How this attempt ends, as a call that can be made again."""
        if self.chance("fail"):
            delay_ms = self.draw.choice([None, None, 0, 300])
            return lambda: self.client.fail_job(job, "broken", retry_delay_ms=delay_ms)
        if self.chance("die"):
            return lambda: self.client.fail_job(job, "hopeless", retryable=False)
        if self.chance("release"):
            return lambda: self.client.release_job(job)
        result = json.dumps({"did": job.payload.decode()}).encode()
        follow_ups = []
        if self.chance("follow up") and job.payload.count(b"/follow") < 2:
            content = f"{job.payload.decode()[:200]}/follow {job.lease_token}"
            follow_ups = [new_job("", f"{content} {number}".encode()) for number in range(self.draw.randint(1, 3))]
        return lambda: self.client.complete_job(job, result, follow_ups=follow_ups)


class Operator(Actor):
    """Looks, cancels, retries, pauses."""

    role = "operator"

    async def run(self) -> None:
        world, draw = self.world, self.draw
        watching: asyncio.Task[None] | None = None
        if self.chance("watch"):
            watching = asyncio.ensure_future(self.watch())
        while not world.calm:
            await self.pause(self.think_ms() * 2)
            if self.chance("wander"):
                self.transport.wander(draw.randrange(len(world.brokers)))
            known = world.known_jobs
            if known:
                job_id = draw.choice(known)
                await self.attempt(self.client.get_job(job_id, linearizable=draw.random() < 0.5))
                await self.change(known)
            await self.attempt(self.client.get_stats(linearizable=draw.random() < 0.5))
            if self.chance("pause"):
                name = draw.choice(world.swarm.types)
                await self.attempt(self.transport.operate("pause", [name]))
                await self.pause(draw.choice([100.0, 2_000.0]))
                await self.resume()
            if self.chance("walk"):
                await self.walk(page_size=draw.choice([1, 7, 50]))
            await self.steer()
        await self.resume()
        if watching is not None:
            watching.cancel()

    async def change(self, known: list[str]) -> None:
        """Cancel, retry or purge some of these jobs."""
        draw = self.draw
        if self.chance("cancel"):
            job_id = draw.choice(known)
            calls = [self.attempt(self.client.cancel_job(job_id))]
            if self.chance("await"):
                calls.insert(0, self.attempt(self.client.wait_job(job_id, 8_000)))
            await asyncio.gather(*calls)
        if self.chance("retry"):
            await self.attempt(self.client.retry_jobs([draw.choice(known) for _ in range(5)]))
        if self.chance("update"):
            chosen = [draw.choice(known) for _ in range(3)]
            if draw.random() < 0.5:
                await self.attempt(self.client.run_jobs(chosen))
            else:
                # The label makes each an update that is in the log, unless the job is refused.
                await self.attempt(
                    self.client.update_jobs(
                        chosen,
                        priority=draw.choice([None, -1, 0, 1]),
                        delay_ms=draw.choice([None, 0, 500]),
                        metadata={"mark": f"{draw.random()}"},
                    )
                )
        if self.chance("purge"):
            await self.attempt(self.transport.operate("purge", [draw.choice(known)]))

    async def watch(self) -> None:
        """Follow everything that happens, from leader to leader."""
        world, draw = self.world, self.draw
        types = draw.choice([(), (), world.swarm.types[1:]])
        while True:
            try:
                async for what in self.client.watch(types=types, stats_interval_ms=draw.choice([0, 500])):
                    world.count(f"watch {type(what).__name__}")
            except OsqueueError:
                world.count("watches begun again")
            await self.pause(100.0)

    async def steer(self) -> None:
        """Cancel, retry or purge whatever matches; ask why a job does not run; ask the leader to go."""
        world, draw = self.world, self.draw
        if self.chance("explain") and world.known_jobs:
            await self.attempt(self.client.explain_job(draw.choice(world.known_jobs)))
            world.count("jobs explained")
        if self.chance("ask to step down"):
            world.count("asked to step down")
            request = admin_pb2.StepDownRequest(reason="maintenance")
            await self.attempt(self.transport.wire_call("StepDown", request))
        if self.chance("steer"):
            await self.steer_by_filter()

    async def steer_by_filter(self) -> None:
        world, draw = self.world, self.draw
        wanted = JobFilter(types=(draw.choice(world.swarm.types),))
        dry_run = draw.random() < 0.3
        match draw.choice(["cancel", "retry", "purge", "run"]):
            case "cancel" if draw.random() < 0.2:
                done = await self.attempt(self.client.cancel_jobs(matching=wanted, dry_run=dry_run))
                world.counts["cancelled by filter"] += len(done.changed) if done and not dry_run else 0
            case "retry":
                done = await self.attempt(self.client.retry_jobs(matching=wanted, dry_run=dry_run))
                world.counts["retried by filter"] += len(done.changed) if done and not dry_run else 0
            case "run":
                done = await self.attempt(self.client.run_jobs(matching=wanted, dry_run=dry_run))
                world.counts["run by filter"] += len(done.changed) if done and not dry_run else 0
            case "purge":
                request = admin_pb2.PurgeRequest(dry_run=dry_run)
                request.filter.types.extend(wanted.types)
                done = await self.attempt(self.transport.wire_call("Purge", request))
                purged = [result for result in done.results if not result.HasField("error")] if done else []
                world.counts["purged by filter"] += 0 if dry_run else len(purged)

    async def look_at(self, target: int) -> None:
        """Ask this broker, whoever leads, what has become of the queue."""
        client = OsqueueClient(transport=SimTransport(self.world, self.node, target), timeout_ms=1_000, max_retries=0)
        for _ in range(4):
            await self.attempt(client.get_stats(linearizable=True))
            await self.pause(100.0)

    async def resume(self) -> None:
        """Resume every type, however long it takes."""
        while await self.attempt(self.transport.operate("resume", list(self.world.swarm.types))) is None:
            await self.pause(200.0)

    async def walk(self, page_size: int) -> None:
        """All jobs, page by page."""
        world = self.world
        event = world.history.begin(self.name, "walk", world.loop.now_ms, arguments={"linearizable": True})
        try:
            listing = self.client.list_jobs(page_size=page_size, linearizable=True)
            ids = [job.id async for job in listing]
        except OsqueueError:
            return
        event.answer, event.outcome = ids, "ok"
        event.returned = event.answered = world.loop.now_ms
