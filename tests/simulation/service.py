"""What stands where gRPC's servicers do: from the SDK's plain messages to the engine and back.

Each function runs on the broker's node. Validation is not the simulation's subject; what
counts is that the engine is called as the servicers call it, and answers are given when they give them.
"""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from osqueue.job import JobSpec
from osqueue.messages import Completion, Failure, ListRequest, Release, Update
from osqueue_service.broker import Broker
from osqueue_service.engine.engine import Engine
from osqueue_service.engine.totals import Totals, totals_of
from osqueue_service.errors import JobNotFound, NotLeader, OsqueueError
from osqueue_service.rpc.page_tokens import Walk
from osqueue_service.rpc.queue_service.work import Work
from osqueue_service.state import commands, model
from osqueue_service.state.model import Status
from osqueue_service.state.named_limits import NamedLimit, Rate
from osqueue_service.state.queries.filters import Filter
from osqueue_service.state.queries.pages import page
from osqueue_service.state.records import JobChange
from osqueue_service.state.state import State
from osqueue_service.state.unique import AfterDead, IfRunning, InSequence, OnConflict, Scope, Unique, Until
from tests.simulation.streams import Stream

if TYPE_CHECKING:
    from tests.simulation.world import World

Place = tuple[int, int]


class Answer:
    """What a broker sends back: a value or an error, with the position it holds for and when it was sent."""

    __slots__ = ("answered", "error", "place", "queue_ms", "value")

    def __init__(self, value: Any, place: Place = (0, 0)) -> None:
        self.value = value
        self.place = place
        self.error: OsqueueError | None = None
        self.answered = 0.0
        self.queue_ms = 0


@dataclass(frozen=True, slots=True)
class Sent:
    """One message of a stream, and when, by whom and as of when it was sent."""

    message: Any
    answered: float
    place: Place
    queue_ms: int


async def work(world: "World", dispatching: Work | None, stream: Stream) -> None:
    """Serve a Work stream, as the handlers around the servicer do it."""
    if dispatching is None:
        raise NotLeader("this broker is starting")
    engine = dispatching._broker.engine
    # The servicer does not look at gRPC's context.
    async with aclosing(dispatching.Work(stream.frames(), None)) as messages:  # type: ignore[arg-type,type-var]
        async for message in messages:
            place = (message.commit.epoch, message.commit.sequence) if message.HasField("commit") else (0, 0)
            if not place[0]:
                place = engine.term.epoch, 0
            await stream.write(Sent(message, world.loop.now_ms, place, engine.now_ms()))


async def rpc(servicers: Sequence[object], name: str, request: Any) -> Answer:
    """A unary call as it is served. Its messages say where they are durable."""
    (served,) = [getattr(one, name) for one in servicers if hasattr(one, name)]
    response = await served(request, None)
    commit = getattr(response, "commit", None)
    return Answer(response, (commit.epoch, commit.sequence) if commit is not None else (0, 0))


async def server_stream(world: "World", servicers: Sequence[object], name: str, request: Any, stream: Stream) -> None:
    """A stream of answers to one request."""
    (served,) = [getattr(one, name) for one in servicers if hasattr(one, name)] or [None]
    if served is None:
        raise NotLeader("this broker is starting")
    async with aclosing(served(request, None)) as messages:
        async for message in messages:
            await stream.write(Sent(message, world.loop.now_ms, (0, 0), 0))


def committed(engine: Engine) -> Place:
    return engine.term.epoch, engine.sequence


def seen(engine: Engine) -> Place:
    return engine.term.epoch, engine.term.appender.next_sequence - 1


def to_spec(job: JobSpec, now_ms: int, state: State | None = None) -> model.JobSpec:
    """The job as the broker stores it; `state` is where its batch is looked up."""
    policy = job.retry_policy
    retry = model.RetryPolicy(policy.initial_ms, policy.multiplier, policy.max_ms, policy.jitter) if policy else None
    run_at = now_ms + job.delay_ms if job.delay_ms else job.run_at
    return model.JobSpec(
        job.type, job.payload, job.priority, job.max_attempts or 0, run_at if run_at > now_ms else 0, job.lease_ms,
        job.timeout_ms, job.retention_ms or 0, job.idempotency_key, retry, None, _more(job, state),
    )  # fmt: skip


def _more(job: JobSpec, state: State | None) -> model.MoreOfSpec | None:
    unique = sequence = None
    if job.unique is not None:
        said = job.unique
        terms = OnConflict[said.on_conflict.upper()], IfRunning[said.if_running.upper()]
        unique = Unique(said.key, Scope[said.scope.upper()], Until[said.until.upper()], *terms, said.ttl_ms)
    if job.sequence_key:
        sequence = InSequence(job.sequence_key, AfterDead[job.sequence_after_dead.upper()])
    on_dead = to_spec(job.submit_on_dead, 0) if job.submit_on_dead is not None else None
    batch = (state.ids.number_of(job.batch_id) or 0) if state is not None and job.batch_id else 0
    limits = tuple(model.LimitUse(*use) for use in job.limits)
    more = model.MoreOfSpec(
        unique=unique, sequence=sequence, limits=limits, fairness_key=job.fairness_key, on_dead=on_dead, batch=batch
    )
    return more if more != model.MoreOfSpec() else None


LIMITS = {
    "slots": NamedLimit("slots", 2, per_key=True),
    "pace": NamedLimit("pace", -1, Rate(8, 1_000, 3)),
}
"""What jobs of a simulation may be under; put when the first one asks for it."""


async def submit(broker: Broker, jobs: Sequence[JobSpec], atomic: bool, request_id: str) -> Answer:
    engine = broker.engine
    specs = [to_spec(job, engine.now_ms(), engine._state) for job in jobs]
    for name in sorted({use.limit for spec in specs for use in spec.limits}):
        await engine.execute(commands.PutLimit(LIMITS[name]))
    answers = await engine.execute(commands.Submit(specs, atomic, request_id), sum(len(job.payload) for job in jobs))
    return Answer(answers, committed(engine))


async def claim(broker: Broker, asked: commands.Claim, wait_ms: int) -> Answer:
    engine = broker.engine
    engine.heartbeats.workers.claims(asked.worker_id, engine.now_ms(), asked.types)
    granted = await engine.claim(asked, wait_ms)
    return Answer(granted, committed(engine) if granted else (0, 0))


async def complete(broker: Broker, completions: Sequence[Completion]) -> Answer:
    engine = broker.engine
    items = [
        commands.CompleteItem(
            done.job_id,
            done.worker_id,
            done.lease_token,
            done.result,
            [to_spec(job, engine.now_ms()) for job in done.follow_ups],
        )
        for done in completions
    ]
    answers = await engine.execute(commands.Complete(items), sum(len(item.result or b"") for item in items))
    return Answer(answers, committed(engine))


async def fail(broker: Broker, failure: Failure, jitter: float) -> Answer:
    engine = broker.engine
    delay_ms = -1 if failure.retry_delay_ms is None else failure.retry_delay_ms
    item = commands.FailItem(
        failure.job_id, failure.worker_id, failure.lease_token, *failure.error, failure.retryable, delay_ms, jitter
    )
    (answer,) = await engine.execute(commands.Fail([item]), len(item.error_message))
    return Answer([answer], committed(engine))


async def release(broker: Broker, asked: Release) -> Answer:
    engine = broker.engine
    item = commands.ReleaseItem(asked.job_id, asked.worker_id, asked.lease_token)
    (answer,) = await engine.execute(commands.Release([item]))
    return Answer([answer], committed(engine))


async def heartbeat(broker: Broker, beats: Sequence[Any]) -> Answer:
    engine = broker.engine
    if not engine.term.is_live():
        raise NotLeader("answers may be stale")
    answers: list[Any] = []
    for job_id, worker_id, token, _, running_ms in beats:
        try:
            lease, cancel_requested = engine.heartbeats.renew(job_id, worker_id, token, running_ms=running_ms)
            answers.append((lease.expires_at, cancel_requested))
        except OsqueueError as refusal:
            answers.append(refusal)
    if any(isinstance(answer, OsqueueError) for answer in answers):
        await engine.settled()
    return Answer(answers, committed(engine))


async def operate(broker: Broker, verb: str, names: Sequence[str], update: Update | None = None) -> Answer:
    """Cancel, retry, purge, pause, resume, update, run."""
    engine = broker.engine
    if update is not None:
        run_at = engine.now_ms() + update.delay_ms if update.delay_ms else update.delay_ms
        change = JobChange(
            update.priority, run_at, None, None if update.labels is None else dict(update.labels.metadata)
        )
        return Answer(await engine.execute(commands.Update(names, change)), committed(engine))
    kind = {
        "cancel": commands.Cancel,
        "retry": commands.Retry,
        "purge": commands.Purge,
        "pause": commands.PauseTypes,
        "resume": commands.ResumeTypes,
    }[verb]
    return Answer(await engine.execute(kind(names)), committed(engine))


async def get(broker: Broker, job_id: str, linearizable: bool) -> Answer:
    engine = broker.engine

    def view(state: State) -> Answer:
        job = state.find(job_id)
        shown = None if job is None else (job.status.wire, job.result, job.attempts, job.spec.payload)
        return Answer(shown, seen(engine))

    answer = await engine.views.read(view, linearizable=linearizable)
    if answer.value is None:
        raise JobNotFound(f"no job has the id {job_id}")
    return answer


async def wait(broker: Broker, job_id: str, wait_ms: int) -> Answer:
    engine = broker.engine

    def view(state: State, job: model.Job | None) -> Answer:
        shown = None if job is None else (job.status.wire, job.result, job.attempts, job.spec.payload)
        return Answer(shown, seen(engine))

    answer = await engine.views.wait_finished(job_id, wait_ms, view)
    if answer.value is None:
        raise JobNotFound(f"no job has the id {job_id}")
    return answer


async def list_page(broker: Broker, asked: ListRequest) -> Answer:
    engine = broker.engine
    walk = Walk("ListJobs", None)

    def view(state: State) -> Answer:
        after = walk.start(state, asked.page_token)
        found = page(state, Filter(tuple(Status)), after, asked.page_size, engine.limits, lambda job: 100)
        ids = [(state.job_id(job), job.status.wire) for job in found.jobs]
        token = "" if found.next_after is None else walk.token(state, found.next_after)
        return Answer((ids, token), seen(engine))

    answer: Answer = await engine.views.read(view, linearizable=asked.linearizable)
    return answer


async def stats(broker: Broker, linearizable: bool) -> Answer:
    engine = broker.engine
    if linearizable:
        answer: Answer = await engine.views.read(
            lambda state: Answer(_figures(totals_of(state)), seen(engine)), linearizable=True
        )
        return answer
    if not engine.term.is_live():
        raise NotLeader("answers may be stale")
    return Answer(_figures(engine.views.totals), committed(engine))


def _figures(totals: Totals) -> dict[str, int]:
    counters = totals.counters
    return {
        "live": totals.live,
        "dead": totals.dead,
        "submitted": counters.submitted,
        "completed": counters.completed,
        "cancelled": counters.cancelled,
        "revived": totals.revived,
        "claimed": counters.claimed,
        "died": counters.died,
        "purged": counters.dead_purged + counters.live_purged,
        "dead_evicted": counters.dead_evicted,
    }
