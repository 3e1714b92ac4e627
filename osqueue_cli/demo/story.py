"""The demo itself: who is started, what is submitted, who is killed, and what is checked."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from osqueue_cli.demo.handlers import OUTBOX
from osqueue_cli.demo.outcome import BrokerDeath, Outcome, Stored
from osqueue_cli.demo.outside import submit_by_rest, submit_by_websocket
from osqueue_cli.demo.picture import png
from osqueue_cli.demo.plan import BATCH_JOBS, SUBMITTED_PER_S, WORKERS, Plan
from osqueue_cli.demo.tally import Event, Kind, Tally
from osqueue_cli.demo.verdict import Verdict, judge
from osqueue_cli.demo.view import View
from osqueue_cli.demo.witness import Witness
from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure
from osqueue_cli.load import Figures, measure
from osqueue_cli.processes import Child, Children, ended_early, free_ports, listening, serving, start_broker

if TYPE_CHECKING:
    from osqueue import OsqueueClient
    from osqueue.job import JobSpec
    from osqueue.stats import Stats

COUNT_EVERY_S = 0.1
AWAY_S = 1.0
"""How long the killed broker stays away, so that one can see everybody wait."""
START_LIMIT_S = 30.0
FLAT_OUT_JOBS = 5_000
FLAT_OUT_BYTES = 200
STALL_LIMIT_S = 60.0


class Story:
    """Told once, by `tell`. What happens is written to the tally and shown by the view."""

    def __init__(self, plan: Plan, tally: Tally, view: View) -> None:
        self._plan = plan
        self._tally = tally
        self._view = view
        self._changed = asyncio.Event()
        self._witness = Witness(tally, self._changed.set)
        self._port, self._http_port = free_ports(2)
        self._broker: Child
        self._workers: list[Child] = []
        self._children: Children
        self._guards: asyncio.TaskGroup
        self._ids: list[str] = []
        self._specs: list[JobSpec] = []

    async def tell(self) -> Outcome:
        """From the first process to the last check. A `Failure` says what went wrong on the way."""
        from osqueue import OsqueueClient

        plan = self._plan
        for directory in (plan.queue, plan.outbox, plan.logs):
            directory.mkdir(parents=True, exist_ok=True)
        async with (
            Children(plan.logs) as self._children,
            OsqueueClient(self._url, max_retries=0, timeout_ms=1_000) as watcher,
            OsqueueClient(self._url) as client,
        ):
            try:
                async with asyncio.TaskGroup() as self._guards:
                    outcome = await self._play(client, watcher)
            except ExceptionGroup as group:
                raise group.exceptions[0] from group
        return outcome

    async def _play(self, client: "OsqueueClient", watcher: "OsqueueClient") -> Outcome:
        plan, tally = self._plan, self._tally
        self._say("info", f"starting a broker on {plan.queue}")
        await self._start_broker()
        for number in range(1, WORKERS + 1):
            await self._start_worker(number)
        gateway = await self._start_gateway()
        counting = self._guards.create_task(self._count(watcher))
        await self._until(lambda: tally.workers == WORKERS)
        await listening(gateway, "127.0.0.1", self._http_port, START_LIMIT_S)
        self._say("info", f"{WORKERS} worker processes are ready; submitting {plan.jobs:,} jobs of two types")
        started_s = time.monotonic()
        producing = self._guards.create_task(self._produce(client))
        await self._until(lambda: tally.completed >= plan.broker_dies_at)
        death = await self._kill_broker()
        await self._until(lambda: tally.completed >= plan.worker_dies_at)
        await self._kill_a_worker()
        await producing
        await self._until(lambda: tally.completed >= plan.jobs)
        seconds = time.monotonic() - started_s
        self._say("info", f"all done; asking the broker for each of the {plan.jobs:,} jobs by its id")
        verdict = await judge(client, self._ids, self._witness.runs)
        counting.cancel()
        position = (await watcher.get_stats()).position
        stored = Stored.in_directory(plan.queue / "objects", position.sequence if position else 0)
        self._say("info", "and now flat out: a small load on the same broker")
        flat_out = await measure(self._url, None, FLAT_OUT_JOBS, FLAT_OUT_BYTES)
        for child in (*self._workers, gateway, self._broker):
            await child.stop()
        return self._conclude(seconds, death, verdict, stored, flat_out)

    # --- the broker ------------------------------------------------------------------------------------------------

    @property
    def _url(self) -> str:
        return f"grpc://127.0.0.1:{self._port}"

    async def _start_broker(self) -> "Stats":
        """Start the broker's process; returns its first answer."""
        self._tally.broker = "starting"
        self._broker = await start_broker(self._children, self._plan.queue, self._port)
        self._guard(self._broker)
        stats = await serving(self._url, self._broker, START_LIMIT_S)
        self._tally.broker, self._tally.broker_pid = "serving", self._broker.pid
        self._tally.epoch = stats.position.epoch if stats.position else 0
        self._say("good", f"the broker serves on {self._url} (process {self._broker.pid}, epoch {self._tally.epoch})")
        return stats

    async def _kill_broker(self) -> BrokerDeath:
        tally = self._tally
        pid, killed_s = self._broker.pid, time.monotonic()
        await self._broker.kill()
        tally.broker = "killed"
        # Producer and workers hear nothing any more: what they hold now was acknowledged before.
        submitted, completed = tally.submitted, len(self._witness.acknowledged)
        self._say(
            "bad", f"kill -9 {pid}: the broker is gone; {submitted:,} jobs and {completed:,} completions acknowledged"
        )
        await asyncio.sleep(AWAY_S)
        restarted_s = time.monotonic()
        counts = (await self._start_broker()).counts
        now_s = time.monotonic()
        death = BrokerDeath(
            pid, submitted, counts.submitted_total, completed, counts.completed_total,
            (now_s - killed_s) * 1_000, (now_s - restarted_s) * 1_000,
        )  # fmt: skip
        self._say(
            "good" if death.sound else "bad",
            f"it knows {counts.submitted_total:,} jobs and {counts.completed_total:,} completions: "
            + ("nothing acknowledged is lost" if death.sound else "SOMETHING IS LOST"),
        )
        return death

    # --- workers and producer --------------------------------------------------------------------------------------

    async def _start_worker(self, number: int) -> None:
        worker = await self._children.start(
            f"worker-{number}", "osqueue_cli.demo.worker", self._url, f"worker-{number}",
            variables={OUTBOX: str(self._plan.outbox)},
        )  # fmt: skip
        self._guard(worker)
        self._workers.append(worker)
        self._guards.create_task(self._witness.listen(worker))

    async def _start_gateway(self) -> Child:
        gateway = await self._children.start(
            "gateway", "osqueue_cli.child", "gateway",
            "--host", "127.0.0.1", "--port", str(self._http_port), "--brokers", f"127.0.0.1:{self._port}",
        )  # fmt: skip
        self._guard(gateway)
        return gateway

    async def _kill_a_worker(self) -> None:
        worker = self._workers.pop(0)
        await worker.kill()
        self._tally.workers -= 1
        self._say("bad", f"kill -9 {worker.pid}: {worker.name} is gone; its leases run out, its jobs run elsewhere")
        await self._start_worker(WORKERS + 1)

    async def _produce(self, client: "OsqueueClient") -> None:
        """Submit the jobs in batches, at a pace that one can watch, and the last two from outside.

        The client bridges the broker's absence."""
        self._specs = list(self._plan.specs())
        *many, by_rest, by_websocket = self._specs
        started_s = time.monotonic()
        for start in range(0, len(many), BATCH_JOBS):
            due_s = started_s + start / SUBMITTED_PER_S
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            handles = await client.submit_jobs(many[start : start + BATCH_JOBS])
            self._submitted(*(handle.id for handle in handles))
        self._say("info", f"{len(self._ids):,} jobs are submitted; the last two come from outside, through the gateway")
        job_id = await submit_by_rest(self._http_port, by_rest)
        self._submitted(job_id)
        self._say("good", f"curl http://localhost:{self._http_port}/v1/jobs -d ... submitted job {job_id}")
        job_id, result = await submit_by_websocket(self._http_port, by_websocket)
        self._submitted(job_id)
        self._say("good", f"a WebSocket client submitted job {job_id} and was told its result: {json.dumps(result)}")

    def _submitted(self, *job_ids: str) -> None:
        self._ids += job_ids
        self._tally.submitted = len(self._ids)

    # --- watching --------------------------------------------------------------------------------------------------

    async def _count(self, watcher: "OsqueueClient") -> None:
        """Ask the broker for the numbers, again and again, and notice when nothing moves any more."""
        from osqueue import OsqueueError

        moved_s, before = time.monotonic(), -1
        while True:
            if self._tally.broker == "serving":
                try:
                    counts = (await watcher.get_stats()).counts
                    self._tally.counted(counts.unclaimed, counts.in_progress, counts.completed_total)
                except OsqueueError:
                    pass  # it is just being killed, or just back; the guards notice a broker that died by itself
            if self._tally.completed != before:
                moved_s, before = time.monotonic(), self._tally.completed
            elif time.monotonic() - moved_s > STALL_LIMIT_S:
                raise Failure(
                    f"nothing has moved for {STALL_LIMIT_S:.0f} s, at {before:,} of {self._plan.jobs:,} jobs; "
                    f"the logs are in {self._plan.logs}",
                    Exit.INTERNAL,
                )
            self._changed.set()
            self._view.refresh()
            await asyncio.sleep(COUNT_EVERY_S)

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._changed.clear()
            await self._changed.wait()

    def _guard(self, child: Child) -> None:
        """End the story when this process ends without having been told to."""

        async def guard() -> None:
            exit_code = await child.exited()
            if not child.ending:
                raise ended_early(child, exit_code)

        self._guards.create_task(guard())

    def _say(self, kind: Kind, text: str) -> None:
        event = Event(self._tally.elapsed_s, kind, text)
        self._tally.events.append(event)
        self._view.happened(event)

    # --- the end ---------------------------------------------------------------------------------------------------

    def _conclude(
        self, seconds: float, death: BrokerDeath, verdict: Verdict, stored: Stored, flat_out: Figures
    ) -> Outcome:
        from osqueue_cli.demo.handlers import tile

        plan = self._plan
        tiles: list[bytes] = [b""] * plan.grid.tiles
        for job_id, spec in zip(self._ids, self._specs, strict=True):
            if spec.type == tile.name:
                piece = tile.decode_payload(spec.payload)
                tiles[piece.row * piece.columns + piece.column] = verdict.results.get(job_id, b"")
        plan.picture.write_bytes(png(plan.grid, tiles))
        return Outcome(
            seconds=seconds,
            death=death,
            verdict=verdict,
            tiles_missing=sum(not pixels for pixels in tiles),
            letters=_letters(plan, self._ids),
            letters_wanted=plan.jobs - plan.grid.tiles,
            flat_out=flat_out,
            stored=stored,
        )


def _letters(plan: Plan, ids: Sequence[str]) -> int:
    """How many of the letters in the outbox are from one of our jobs."""
    names = {path.stem for path in plan.outbox.glob("*.txt")}
    return len(names.intersection(ids))
