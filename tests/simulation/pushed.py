"""A worker that has its jobs pushed: one Work stream after the other, its leases carried from each to the next."""

import asyncio
import json
from collections import defaultdict, deque
from dataclasses import dataclass, field

from osqueue_service import errors as service_errors
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2
from tests.checkers.history import Event
from tests.simulation.actors import Actor
from tests.simulation.service import Sent
from tests.simulation.streams import Stream, StreamBroken

RENEW_EVERY_MS = 600.0

Ending = queue_pb2.CompleteJobRequest | queue_pb2.FailJobRequest | queue_pb2.ReleaseJobRequest

_FIELDS = {
    queue_pb2.CompleteJobRequest: ("complete", "completions"),
    queue_pb2.FailJobRequest: ("fail", "failures"),
    queue_pb2.ReleaseJobRequest: ("release", "releases"),
}


@dataclass(eq=False)
class Held:
    """A job that this worker holds. `hung`: its handler will never end, and its lease is not renewed."""

    job: job_pb2.ClaimedJob
    hung: bool = False
    task: "asyncio.Task[None] | None" = field(default=None, repr=False)


class PushedWorker(Actor):
    """Takes jobs from a stream, and settles them on it or on one of the next."""

    role = "worker"

    async def run(self) -> None:
        self._held: dict[str, Held] = {}
        self._unsettled: dict[str, Ending] = {}
        """Endings without a receipt, by token: the next stream repeats them."""
        self._outbox: list[Ending] = []
        self._something = asyncio.Event()
        self._asked: dict[tuple[str, str], deque[Event]] = {}
        """By operation and token: what was asked on this stream and not answered yet."""
        self._seen = 0
        """The highest epoch heard of: what leaders of lower ones say of leases does not count."""
        self._failures = 0
        """Streams in a row that were not opened."""
        while True:
            self._failures += 1
            await self._one_stream()
            await self.pause(self.draw.uniform(5, 50) * 2 ** min(self._failures, 5))

    # --- one stream --------------------------------------------------------------------------------------------------

    async def _one_stream(self) -> None:
        draw, world = self.draw, self.world
        self._slots = self._slots_most = draw.choice([1, 3, 8])
        self._asked = defaultdict(deque)
        self._outbox = []
        self._hung_up = False
        types = () if world.calm else draw.choice([(), (), world.swarm.types[:2], world.swarm.types])
        opened = queue_pb2.WorkOpen(
            worker_id=self.name, slots=self._slots, types=types, lease_ms=draw.choice([0, 0, 1_500])
        )
        for token, held in self._held.items():
            opened.held.add(job_id=held.job.job_id, lease_token=token)
            self._ask("heartbeat", held.job.job_id, token)
        if draw.random() < 0.5:
            opened.stream_key = f"stream of {self.name}"
            for token, end in self._unsettled.items():
                opened.held.add(job_id=end.job_id, lease_token=token)
                self._ask("heartbeat", end.job_id, token)
            world.count("streams with a key")
        self._slots_most = max(self._slots, len(opened.held))
        self._opened_ms = world.loop.now_ms
        stream, target = self.transport.work_stream()
        at_once = draw.random() < 0.5
        stream.send(self._frame(list(self._unsettled.values()) if at_once else [], open=opened))
        if not at_once:
            self._outbox = list(self._unsettled.values())
        beside = [asyncio.ensure_future(work(stream)) for work in (self._settle, self._renew, self._behave)]
        try:
            async for frame in stream.answers():
                if self.chance("slow reader"):
                    await self.pause(draw.choice([100.0, 2_500.0]))
                self._take(frame)
            world.count("streams ended in order")
            self._check_all_heard()
        except StreamBroken:
            world.count("streams broken")
            self.transport.move_on(target)
        except service_errors.OsqueueError as refusal:
            world.count(f"stream {refusal.reason}")
            self.transport.sent_away(refusal, target)
        finally:
            stream.give_up()
            for task in beside:
                task.cancel()
            self.transport.lost([event for asked in self._asked.values() for event in asked])

    async def _settle(self, stream: Stream) -> None:
        """Send what there is to say, many jobs in one frame."""
        while True:
            await self._something.wait()
            self._something.clear()
            if self.draw.random() < 0.5:
                await self.pause(self.draw.choice([1.0, 20.0]))
            # A token's next action waits for the receipt of the last: receipts do not say which they are for.
            ready = [end for end in self._outbox if not any(self._asked[name, end.lease_token] for name, _ in _NAMES)]
            if ready and not self._hung_up:
                self._outbox = [end for end in self._outbox if end not in ready]
                stream.send(self._frame(list({end.lease_token: end for end in ready}.values())))

    async def _renew(self, stream: Stream) -> None:
        """Renew all leases with one word; one by one while some must not live on."""
        while True:
            await self.pause(RENEW_EVERY_MS)
            renewed = [held for held in self._held.values() if not held.hung]
            for held in renewed:
                self._ask("heartbeat", held.job.job_id, held.job.lease_token)
            if len(renewed) == len(self._held):
                stream.send(queue_pb2.WorkRequest(renew_all=True))
                self.world.count("renewals of all")
            elif renewed:
                beats = [
                    queue_pb2.HeartbeatRequest(
                        job_id=held.job.job_id,
                        lease_token=held.job.lease_token,
                        progress=job_pb2.Progress(fraction=0.5, message="half"),
                    )
                    for held in renewed
                ]
                stream.send(queue_pb2.WorkRequest(heartbeats=beats))

    async def _behave(self, stream: Stream) -> None:
        """What workers do now and then."""
        while True:
            await self.pause(self.draw.uniform(500, 3_000))
            if self.chance("slots"):
                self._slots = self.draw.choice([0, 1, 5])
                self._slots_most = max(self._slots_most, self._slots)
                stream.send(queue_pb2.WorkRequest(slots=self._slots))
            elif self.chance("drain"):
                self.world.count("streams drained by the worker")
                stream.send(queue_pb2.WorkRequest(drain=True))
                return
            elif self.chance("hang up"):
                self._hung_up = True
                stream.hang_up()
                return

    def _check_all_heard(self) -> None:
        """Who hangs up has the receipts of all that was sent before."""
        for (operation, token), asked in self._asked.items():
            if self._hung_up and asked and operation != "heartbeat":
                self.world.failed(f"rule 10: the stream ended in order, and {operation} {token} had no receipt")

    # --- what is asked -----------------------------------------------------------------------------------------------

    def _ask(self, operation: str, job_id: str, token: str) -> None:
        self._asked[operation, token].append(self.transport.begin(operation, job=job_id, token=token))

    def _frame(self, ends: list[Ending], **fields: object) -> queue_pb2.WorkRequest:
        frame = queue_pb2.WorkRequest(**fields)  # type: ignore[arg-type]
        for end in ends:
            operation, name = _FIELDS[type(end)]
            getattr(frame, name).append(end)
            self._ask(operation, end.job_id, end.lease_token)
        return frame

    # --- what is told ------------------------------------------------------------------------------------------------

    def _take(self, frame: Sent) -> None:
        message = frame.message
        if message.HasField("opened"):
            self._failures = 0
            self._something.set()
        if (message.renewals or message.HasField("opened")) and not message.HasField("position"):
            self.world.failed("a Work stream spoke of leases, and not as of when")
        self._outdated = message.HasField("position") and message.position.epoch < self._seen
        self._seen = max(self._seen, message.position.epoch, message.commit.epoch)
        for state in (*message.opened.held, *message.renewals):
            self._lease_state(frame, state)
        for state in message.notices:
            self._notice(state)
        for receipt in message.receipts:
            self._receipt(frame, receipt)
        for job in message.jobs:
            self._job(frame, job)
        if len(self._held) > self._slots_most:
            self.world.failed(f"rule 15: {self.name} has {self._slots_most} slots, and {len(self._held)} jobs")
        if message.HasField("drain"):
            self.world.count("streams drained by the broker")
        if self._outdated:
            self.world.count("leaders of the past left")
            raise StreamBroken("a leader of the past")

    def _lease_state(self, frame: Sent, state: queue_pb2.LeaseState) -> None:
        asked = self._asked["heartbeat", state.lease_token]
        # A word that renews all renews jobs that were on their way here, too: that answer was not asked for.
        if asked and asked[0].invoked <= frame.answered:
            resumed = "resumed " if frame.message.HasField("opened") else ""
            self.world.count(f"{resumed}leases {'live' if state.live else 'lost'}")
            self.transport.told(asked.popleft(), frame, "" if state.live else "LEASE_LOST")
        if not state.live and not self._outdated:
            self._drop(state.lease_token)

    def _notice(self, state: queue_pb2.LeaseState) -> None:
        if state.live:
            self.world.count("cancellations noticed")
            return
        self.world.count("lost leases noticed")
        self._drop(state.lease_token)

    def _receipt(self, frame: Sent, receipt: queue_pb2.WorkReceipt) -> None:
        token = receipt.lease_token
        operation = next((name for name, _ in _NAMES if self._asked[name, token]), "")
        if not operation:
            self.world.failed(f"rule 10: a receipt that nobody asked for: {receipt.job_id} {token}")
            return
        event = self._asked[operation, token].popleft()
        self._something.set()
        if receipt.HasField("error"):
            reason = job_pb2.ErrorReason.Name(receipt.error.reason).removeprefix("ERROR_REASON_")
            self.transport.told(event, frame, reason)
            if reason in ("LEASE_LOST", "JOB_NOT_FOUND"):
                self._unsettled.pop(token, None)
            else:
                self._again(token)
            return
        if not frame.message.HasField("commit"):
            self.world.failed(f"a frame with receipts does not say where they are durable: {receipt.job_id}")
        answer = [receipt.status, receipt.run_at] if operation == "fail" else None
        self.transport.told(event, frame, "", answer)
        self.world.count(f"{operation} receipts")
        if self.chance("repeat"):
            self.world.count("actions repeated")
            self._again(token)
        else:
            self._unsettled.pop(token, None)

    def _again(self, token: str) -> None:
        end = self._unsettled.get(token)
        if end is not None and end not in self._outbox:
            self._outbox.append(end)
            self.world.loop.call_later(0.1, self._something.set)

    def _job(self, frame: Sent, job: job_pb2.ClaimedJob) -> None:
        event = self.transport.begin("claim", job=job.job_id, attempt=job.attempt, token=job.lease_token)
        event.invoked = self._opened_ms
        self.transport.told(event, frame, "")
        self.world.count("jobs pushed")
        held = self._held[job.lease_token] = Held(job)
        held.task = asyncio.ensure_future(self._work(held))

    def _drop(self, token: str) -> None:
        held = self._held.pop(token, None)
        if held is not None and held.task is not None and not self.chance("late"):
            held.task.cancel()

    # --- the work ----------------------------------------------------------------------------------------------------

    async def _work(self, held: Held) -> None:
        if self.chance("vanish"):
            held.hung = True
            return
        duration_ms = self.draw.choice([0.0, 5.0, 100.0, 600.0])
        if self.chance("slow"):
            duration_ms = self.draw.choice([3_000.0, 6_000.0])
        if duration_ms:
            await self.pause(duration_ms)
        job = held.job
        self._held.pop(job.lease_token, None)
        self._unsettled[job.lease_token] = end = self._ending(job)
        self._outbox.append(end)
        self._something.set()

    def _ending(self, job: job_pb2.ClaimedJob) -> Ending:
        names = {"job_id": job.job_id, "lease_token": job.lease_token}
        if self.chance("fail"):
            fail = queue_pb2.FailJobRequest(**names, error=job_pb2.JobError(message="broken"))
            delay_ms = self.draw.choice([None, None, 0, 300])
            if delay_ms is not None:
                fail.retry_delay_ms = delay_ms
            return fail
        if self.chance("die"):
            return queue_pb2.FailJobRequest(**names, error=job_pb2.JobError(message="hopeless"), retryable=False)
        if self.chance("release"):
            return queue_pb2.ReleaseJobRequest(**names)
        result = json.dumps({"did": job.payload.decode()}).encode()
        return queue_pb2.CompleteJobRequest(**names, result=result)


_NAMES = tuple(_FIELDS.values())
