"""The SDK's way to the brokers of a simulated world, and the history of what went over it.

Every attempt of every call is an event, item by item. Retrying, following the leader,
batching and refusing to go back in time are the SDK's own.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from osqueue.errors import (
    BrokerLeadershipError,
    OsqueueError,
    TransportConnectionError,
    from_reason,
)
from osqueue.job import ClaimedJob, Job, JobSpec, Position
from osqueue.messages import (
    Change,
    ChangePage,
    ClaimRequest,
    Claims,
    Completion,
    Explanation,
    Failure,
    Heartbeat,
    JobAnswer,
    JobPage,
    ListRequest,
    Release,
    Renewal,
    Selection,
    Settled,
    Submitted,
    Update,
    WatchFrame,
    WatchRequest,
)
from osqueue.stats import Counts, Stats
from osqueue.transports.wire import WireTransport
from osqueue_service import errors as service_errors
from osqueue_service.broker import Broker
from osqueue_service.state.commands import Claim, FailAnswer, Followed, Granted
from tests.checkers.history import OK, Event, outcome_of
from tests.simulation import service
from tests.simulation.link import SimLink
from tests.simulation.loop import Node
from tests.simulation.network import ConnectionLost
from tests.simulation.service import Answer, Sent
from tests.simulation.streams import Stream

if TYPE_CHECKING:
    from tests.simulation.world import SimBroker, World

Handler = Callable[[Broker], Awaitable[Answer]]


class SimTransport:
    """One client's way to whichever broker leads."""

    def __init__(self, world: "World", node: Node, first: int) -> None:
        self.world = world
        self._node = node
        self._target = first
        self._hops = 0
        self.wire = WireTransport("simulated", SimLink(self))
        """For rare calls, in the API's own messages."""

    @property
    def name(self) -> str:
        return "simulated"

    @property
    def address(self) -> str:
        return self.world.brokers[self._target].name

    def clone(self) -> "SimTransport":
        return SimTransport(self.world, self._node, self._target)

    async def close(self) -> None:
        """Nothing to close."""

    def wander(self, target: int) -> None:
        """Ask another broker from now on, whoever leads: somebody changed the address."""
        self._target = target

    # --- one attempt -------------------------------------------------------------------------------------------------

    async def attempt(self, handler: Handler, timeout_ms: float, events: list[Event]) -> Answer:
        """The broker's answer; its refusal of the whole call, or the loss of the connection, is raised as the SDK's
        error, and noted in the events."""
        world = self.world
        server = world.brokers[self._target]
        node, broker = server.node, server.broker

        async def serve() -> Answer:
            try:
                if broker is None:
                    raise service_errors.NotLeader("this broker is starting")
                answer = await handler(broker)
            except service_errors.OsqueueError as refusal:
                answer = Answer(None)
                answer.error = refusal
            except Exception as defect:  # noqa: BLE001 - whatever a call raises beside refusals is a finding
                world.failed(f"a call on {node.name} raised {defect!r}", defect)
                answer = Answer(None)
                answer.error = service_errors.InternalError(repr(defect))
            answer.answered = world.loop.now_ms
            if broker is not None and broker.is_leader:
                answer.queue_ms = broker.engine.now_ms()
                if answer.error is not None:
                    answer.place = service.committed(broker.engine)
            return answer

        try:
            answer: Answer = await world.network.call(self._node, node, serve, timeout_ms)
        except ConnectionLost as lost:
            self._end(events, "CONNECTION_LOST")
            self.move_on(server)
            raise TransportConnectionError(str(lost)) from None
        if answer.error is not None:
            self._end(events, answer.error.reason, answer)
            raise self.followed(answer.error, server)
        self._hops = 0
        return answer

    def followed(self, refusal: service_errors.OsqueueError, server: "SimBroker") -> OsqueueError:
        """The SDK's error, having moved on to where the leader may be, as the gRPC transport does it."""
        error = sdk_error(refusal)
        if isinstance(error, BrokerLeadershipError):
            brokers = self.world.brokers
            known = next((number for number, broker in enumerate(brokers) if broker.name == error.leader), None)
            if known is None or brokers[known] is server:
                self.move_on(server)
            else:
                if brokers[self._target] is server:
                    self._target = known
                    self._hops += 1
                if self._hops <= 1:
                    error.retry_after_ms = 0
        return error

    def move_on(self, server: "SimBroker") -> None:
        """The broker does not answer: ask the next one from now on."""
        brokers = self.world.brokers
        if brokers[self._target] is server:  # otherwise another call has moved on already
            self._target = (self._target + 1) % len(brokers)

    def begin(self, operation: str, **fields: Any) -> Event:
        world = self.world
        return world.history.begin(self._node.name, operation, world.loop.now_ms, **fields)

    def _end(self, events: Sequence[Event], reason: str, answer: Answer | None = None) -> None:
        for event in events:
            self._refused(event, reason, answer)

    def _refused(self, event: Event, reason: str, answer: Answer | Sent | None) -> None:
        event.returned = self.world.loop.now_ms
        event.outcome, event.reason = outcome_of(reason), reason
        if answer is not None:
            event.answered = answer.answered
            event.epoch, event.sequence = answer.place
            event.arguments["queue_ms"] = answer.queue_ms
        self.world.note(event)

    def accepted(self, event: Event, answer: Answer | Sent, value: Any = None) -> None:
        event.returned = self.world.loop.now_ms
        event.answered = answer.answered
        event.outcome = OK
        event.epoch, event.sequence = answer.place
        event.answer = value
        self.world.note(event)

    # --- the Work stream ----------------------------------------------------------------------------------------------

    def work_stream(self) -> tuple[Stream, "SimBroker"]:
        """A stream to the broker asked at present."""
        world = self.world
        server = world.brokers[self._target]
        node, dispatching = server.node, server.dispatching
        return world.network.open_stream(
            self._node, node, lambda stream: service.work(world, dispatching, stream)
        ), server

    def server_stream(self, name: str, request: Any) -> tuple[Stream, "SimBroker"]:
        """The answers to one request, from the broker asked at present."""
        world = self.world
        server = world.brokers[self._target]
        servicers = server.servicers
        stream = world.network.open_stream(
            self._node, server.node, lambda stream: service.server_stream(world, servicers, name, request, stream)
        )
        return stream, server

    def sent_away(self, refusal: service_errors.OsqueueError, server: "SimBroker") -> None:
        """The broker ended the stream and said why."""
        self.followed(refusal, server)

    def told(self, event: Event, frame: Sent, reason: str, value: Any = None) -> None:
        """The stream answered what the event asked."""
        if reason:
            self._refused(event, reason, frame)
        else:
            self.accepted(event, frame, value)

    def lost(self, events: Sequence[Event]) -> None:
        """The stream ended before these were answered."""
        self._end(events, "CONNECTION_LOST")

    # --- the calls ---------------------------------------------------------------------------------------------------

    async def submit_jobs(
        self, jobs: Sequence[JobSpec], *, atomic: bool, request_id: str, timeout_ms: int
    ) -> tuple[Sequence[Submitted | OsqueueError], Position | None]:
        events = [
            self.begin("submit", key=f"{request_id}/{number}", arguments={"payload": job.payload.decode()})
            for number, job in enumerate(jobs)
        ]
        answer = await self.attempt(
            lambda broker: service.submit(broker, list(jobs), atomic, request_id), timeout_ms, events
        )
        results: list[Submitted | OsqueueError] = []
        for event, item in zip(events, answer.value, strict=True):
            if isinstance(item, service_errors.OsqueueError):
                self._refused(event, item.reason, answer)
                results.append(sdk_error(item))
            else:
                event.job = item.job_id
                outcome = item.outcome.name.lower() if item.outcome else ""
                if outcome:
                    self.world.count(f"unique {outcome}")
                if outcome in ("kept", "replaced", "cancelling"):
                    event.operation = "meet"  # it came to a job that was, or may have been, another's
                self.accepted(event, answer, item.deduplicated)
                results.append(Submitted(item.job_id, item.deduplicated))
        return results, Position(*answer.place)

    async def claim_jobs(self, request: ClaimRequest, *, timeout_ms: int) -> Claims:
        asked = self.begin(
            "claim", key=request.claim_key, arguments={"types": list(request.types), "max": request.max_jobs}
        )

        def handler(broker: Broker) -> Awaitable[Answer]:
            command = Claim(
                request.worker_id, request.types, request.max_jobs, request.max_bytes, request.lease_ms,
                request.claim_key,
            )  # fmt: skip
            return service.claim(broker, command, request.wait_ms)

        answer = await self.attempt(handler, timeout_ms, [asked])
        granted: list[Granted] = answer.value
        jobs = []
        for number, one in enumerate(granted):
            event = asked if not number else self.begin("claim", key=request.claim_key)
            event.invoked = asked.invoked
            event.job, event.attempt, event.token = one.job_id, one.attempt, one.token
            self.accepted(event, answer)
            jobs.append(
                ClaimedJob(
                    job_id=one.job_id,
                    worker_id=request.worker_id,
                    payload=one.spec.payload,
                    type=one.spec.type,
                    lease_token=one.token,
                    attempt=one.attempt,
                    lease_ms=one.lease_ms,
                    max_attempts=one.max_attempts,
                    timeout_ms=one.spec.timeout_ms,
                )
            )
        if not granted:
            self.accepted(asked, answer)
        return Claims(jobs, Position(*answer.place) if granted else None)

    async def heartbeat_jobs(
        self, heartbeats: Sequence[Heartbeat], *, timeout_ms: int
    ) -> tuple[Sequence[Renewal | OsqueueError], Position | None]:
        events = [self.begin("heartbeat", job=beat.job_id, token=beat.lease_token) for beat in heartbeats]
        answer = await self.attempt(lambda broker: service.heartbeat(broker, heartbeats), timeout_ms, events)
        results: list[Renewal | OsqueueError] = []
        for event, item in zip(events, answer.value, strict=True):
            if isinstance(item, service_errors.OsqueueError):
                self._refused(event, item.reason, answer)
                results.append(sdk_error(item))
            else:
                self.accepted(event, answer)
                results.append(Renewal(*item))
        return results, Position(*answer.place)

    async def complete_jobs(
        self, completions: Sequence[Completion], *, request_id: str, timeout_ms: int
    ) -> tuple[Sequence[OsqueueError | None], Position | None]:
        events = [
            self.begin("complete", key=request_id, job=completion.job_id, token=completion.lease_token)
            for completion in completions
        ]
        answer = await self.attempt(lambda broker: service.complete(broker, completions), timeout_ms, events)
        return [self._settled(event, item, answer) for event, item in zip(events, answer.value, strict=True)], Position(
            *answer.place
        )

    def _settled(self, event: Event, item: Any, answer: Answer) -> OsqueueError | None:
        if isinstance(item, service_errors.OsqueueError):
            self._refused(event, item.reason, answer)
            return sdk_error(item)
        value: Any = None
        if isinstance(item, FailAnswer):
            value = [item.status.wire, item.next_at]
        elif isinstance(item, Followed):
            value = [getattr(each, "job_id", "refused") for each in item.answers]
        self.accepted(event, answer, value)
        return None

    async def fail_job(self, failure: Failure, *, timeout_ms: int) -> Settled:
        event = self.begin("fail", key=failure.request_id, job=failure.job_id, token=failure.lease_token)
        jitter = self.world.ids.jitter()
        answer = await self.attempt(lambda broker: service.fail(broker, failure, jitter), timeout_ms, [event])
        refusal = self._settled(event, answer.value[0], answer)
        if refusal is not None:
            raise refusal
        ended: FailAnswer = answer.value[0]
        return Settled(ended.status.wire, ended.next_at, Position(*answer.place))  # type: ignore[arg-type]

    async def release_job(self, release: Release, *, timeout_ms: int) -> Settled:
        event = self.begin("release", key=release.request_id, job=release.job_id, token=release.lease_token)
        answer = await self.attempt(lambda broker: service.release(broker, release), timeout_ms, [event])
        refusal = self._settled(event, answer.value[0], answer)
        if refusal is not None:
            raise refusal
        return Settled("unclaimed", 0, Position(*answer.place))

    async def get_job(self, job_id: str, *, linearizable: bool, timeout_ms: int) -> JobAnswer:
        event = self.begin("get", job=job_id, arguments={"linearizable": linearizable})
        return await self._read_job(event, lambda broker: service.get(broker, job_id, linearizable), timeout_ms)

    async def wait_job(self, job_id: str, *, wait_ms: int, timeout_ms: int) -> JobAnswer:
        event = self.begin("get", job=job_id, arguments={"wait_ms": wait_ms})
        return await self._read_job(event, lambda broker: service.wait(broker, job_id, wait_ms), timeout_ms)

    async def _read_job(self, event: Event, handler: Handler, timeout_ms: int) -> JobAnswer:
        answer = await self.attempt(handler, timeout_ms, [event])
        status, result, attempts, payload = answer.value
        self.accepted(event, answer, {"status": status, "result": result, "attempts": attempts})
        job = Job(event.job, status, payload, attempts=attempts, result=result)
        return JobAnswer(job, Position(*answer.place))

    async def list_jobs(self, request: ListRequest, *, timeout_ms: int) -> JobPage:
        event = self.begin("page", key=request.page_token, arguments={"linearizable": request.linearizable})
        answer = await self.attempt(lambda broker: service.list_page(broker, request), timeout_ms, [event])
        ids, token = answer.value
        self.accepted(event, answer)
        return JobPage([Job(job_id, status) for job_id, status in ids], token, Position(*answer.place))

    async def get_stats(self, *, linearizable: bool, timeout_ms: int) -> Stats:
        event = self.begin("stats", arguments={"linearizable": linearizable})
        answer = await self.attempt(lambda broker: service.stats(broker, linearizable), timeout_ms, [event])
        self.accepted(event, answer, answer.value)
        return Stats(Counts(total=answer.value["live"], dead=answer.value["dead"]), position=Position(*answer.place))

    async def cancel_job(self, job_id: str, *, request_id: str, timeout_ms: int) -> Change:
        answer = await self._operate("cancel", [job_id], request_id, timeout_ms)
        (item,) = answer.value
        if isinstance(item, service_errors.OsqueueError):
            raise sdk_error(item)
        return Change(job_id, item.wire)

    async def cancel_jobs(self, selection: Selection, *, timeout_ms: int) -> ChangePage:
        return await self.wire.cancel_jobs(selection, timeout_ms=timeout_ms)

    async def retry_jobs(self, selection: Selection, *, timeout_ms: int) -> ChangePage:
        if selection.filter is not None:
            return await self.wire.retry_jobs(selection, timeout_ms=timeout_ms)
        answer = await self._operate("retry", selection.job_ids, selection.request_id, timeout_ms)
        changes = [
            Change(job_id, error=sdk_error(item)) if item is not None else Change(job_id, "unclaimed")
            for job_id, item in zip(selection.job_ids, answer.value, strict=True)
        ]
        return ChangePage(changes, commit=Position(*answer.place))

    async def update_jobs(self, update: Update, *, timeout_ms: int) -> ChangePage:
        if update.filter is not None:
            return await self.wire.update_jobs(update, timeout_ms=timeout_ms)
        answer = await self._operate("update", update.job_ids, update.request_id, timeout_ms, update)
        return _changes(update.job_ids, answer)

    async def run_jobs(self, selection: Selection, *, timeout_ms: int) -> ChangePage:
        if selection.filter is not None:
            return await self.wire.run_jobs(selection, timeout_ms=timeout_ms)
        answer = await self._operate("run", selection.job_ids, selection.request_id, timeout_ms, Update(delay_ms=0))
        return _changes(selection.job_ids, answer)

    async def operate(self, verb: str, names: Sequence[str], timeout_ms: int = 5_000) -> Answer:
        """What the SDK has no call for: purge, pause, resume."""
        return await self._operate(verb, names, "", timeout_ms)

    async def wire_call(self, name: str, request: Any, timeout_ms: int = 5_000) -> Any:
        """A call that neither the SDK has nor `operate`."""
        return await SimLink(self).call(name, request, timeout_ms)

    async def _operate(
        self, verb: str, names: Sequence[str], key: str, timeout_ms: int, change: Update | None = None
    ) -> Answer:
        jobs = verb not in ("pause", "resume")
        events = [
            self.begin(verb, key=key, **({"job": name} if jobs else {"arguments": {"type": name}})) for name in names
        ]
        answer = await self.attempt(lambda broker: service.operate(broker, verb, names, change), timeout_ms, events)
        for number, event in enumerate(events):
            item = answer.value[number] if jobs else None
            if isinstance(item, service_errors.OsqueueError):
                self._refused(event, item.reason, answer)
            else:
                self.accepted(event, answer)
        return answer

    async def explain_job(self, job_id: str, *, timeout_ms: int) -> Explanation:
        return await self.wire.explain_job(job_id, timeout_ms=timeout_ms)

    def watch_jobs(self, request: WatchRequest) -> AsyncIterator[WatchFrame]:
        return self.wire.watch_jobs(request)


def _changes(job_ids: Sequence[str], answer: Answer) -> ChangePage:
    changes = [
        Change(job_id, error=sdk_error(item))
        if isinstance(item, service_errors.OsqueueError)
        else Change(job_id, item.wire)
        for job_id, item in zip(job_ids, answer.value, strict=True)
    ]
    return ChangePage(changes, commit=Position(*answer.place))


def sdk_error(refusal: service_errors.OsqueueError) -> OsqueueError:
    """As the gRPC transport makes it."""
    return from_reason(
        refusal.reason, refusal.message, retry_after_ms=refusal.retry_after_ms,
        leader=getattr(refusal, "leader_address", ""),
    )  # fmt: skip
