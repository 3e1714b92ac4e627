"""One seed: build its world, let trouble happen, heal, wait for the end, and judge."""

import gc
import logging
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from osqueue_service.engine.inbox import Inbox
from osqueue_service.engine.pipeline import Pipeline
from osqueue_service.engine.waiting import FinishWaiters, WaitingClaims
from osqueue_service.log.paths import SEQUENCE_MAX
from osqueue_service.log.settle import BACKOFF_MAX_MS
from osqueue_service.state.state import State
from tests.checkers.checks import Windows, check_against_log, check_history
from tests.checkers.graphs import effects_come_once, effects_seen
from tests.checkers.history import OK, UNKNOWN, History
from tests.checkers.logbook import Logbook
from tests.checkers.operators import acknowledged_changes_are_in_the_log, acknowledged_pauses_are_in_the_log
from tests.checkers.schedules import outcomes, times_are_decided_once
from tests.simulation.actors import Actor, Operator, Producer, Worker
from tests.simulation.inherited import InheritedWorker
from tests.simulation.nemesis import Nemesis
from tests.simulation.past import kept_moments_equal_the_log
from tests.simulation.planner import Planner
from tests.simulation.points import checkpoints_equal_the_log
from tests.simulation.pushed import PushedWorker
from tests.simulation.scheduler import Scheduler
from tests.simulation.store import REQUEST_TIMEOUT_MS
from tests.simulation.swarm import WRONG_CLOCK, Swarm, least_sweep_jobs
from tests.simulation.watched import patched
from tests.simulation.world import World

SETTLE_MS_MAX = 60_000.0
"""Within this long after everything works again, every job must have come to its end (rule 16), and"""
SETTLE_A_JOB_MS = 300.0
"""this much more for each job that there was then: one after the other, where limits or sequences want it so."""

CALM_TAKEOVERS_MAX = 2
"""Once everything works again, the vacancy is filled, perhaps after a duel, and nobody is deposed any more."""

OPTIONS = ("run_at", "priority", "idempotency_key", "retention_ms", "retry", "timeout_ms", "lease_ms", "max_attempts")
"""What a job can ask for, as the log has it."""


@dataclass
class Result:
    """What came of one seed."""

    seed: int
    problems: list[str]
    trace_hash: str
    simulated_ms: float
    steps: int
    operations: int
    counts: Counter[str]
    history: History
    trace: list[str] = field(default_factory=list)
    settled_ms: float = 0.0
    failover_ms: float = 0.0

    @property
    def ok(self) -> bool:
        return not self.problems


Script = Callable[[World, Nemesis], None]


def run_seed(
    swarm: Swarm,
    *,
    traced: bool = False,
    hashed: bool = True,
    problems_max: int = 20,
    script: Script = lambda world, nemesis: None,
) -> Result:
    """Run one world to its end. `script` may prepare it for something of its own."""
    logging.disable(logging.CRITICAL)
    gc.disable()
    if not _modules_frozen:
        gc.freeze()  # modules need not be looked at after every seed
        _modules_frozen.append(True)
    try:
        world = World(swarm, traced=traced, hashed=hashed)
        result = _run(world, problems_max, script)
        worlds = [world]
        del world
        _bury(worlds)
        return result
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)


_modules_frozen: list[bool] = []


def _run(world: World, problems_max: int, script: Script) -> Result:
    with patched(world):
        nemesis = Nemesis(world, _people(world))
        script(world, nemesis)
        world.loop.world.spawn(nemesis.run(), name="nemesis")
        return _live(world, nemesis, problems_max)


_KEPT: dict[type, Callable[[Any], None]] = {
    State: State.take_apart,
    Pipeline: lambda kept: kept._commits.clear(),
    Inbox: lambda kept: kept.entries.clear(),
    WaitingClaims: lambda kept: kept._rows.clear(),
    FinishWaiters: lambda kept: kept._waiters.clear(),
}
"""What the product keeps away from the garbage collector, and how it is emptied."""


def _bury(worlds: list[World]) -> None:
    """Let a world go. Tasks that were killed are only now destroyed; what their `finally` blocks say is nobody's.

    What the product keeps away from the garbage collector is taken apart first: a process that is killed does not do
    that itself, and its memory goes with it.
    """
    hook = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            for kept in gc.get_objects():
                take_apart = _KEPT.get(type(kept))
                if take_apart is not None:
                    take_apart(kept)
            world = worlds.pop()
            world.over = True
            world.loop.dispose()
            del world
            gc.collect()
    finally:
        sys.unraisablehook = hook


def _people(world: World) -> list[Actor]:
    swarm = world.swarm
    people: list[Actor] = [Producer(world, number) for number in range(swarm.producers)]
    people += [Worker(world, number) for number in range(swarm.workers)]
    people += [PushedWorker(world, swarm.workers + number) for number in range(swarm.pushed_workers)]
    if swarm.inherited_jobs:
        people.append(InheritedWorker(world, 0))
    people += [Operator(world, number) for number in range(swarm.operators)]
    people += [Scheduler(world, number) for number in range(swarm.schedulers)]
    people += [Planner(world, number) for number in range(swarm.planners)]
    return people


def _live(world: World, nemesis: Nemesis, problems_max: int) -> Result:
    loop, swarm = world.loop, world.swarm
    stopped = ""
    settled_ms = failover_ms = 0.0
    try:
        loop.run(lambda: loop.now_ms >= swarm.trouble_ms or len(world.problems) > problems_max)
        world.calm = True
        world.note("CALM")
        nemesis.heal()
        calm_ms = loop.now_ms
        loop.run(lambda: any(broker.leads for broker in world.brokers) or loop.now_ms > calm_ms + SETTLE_MS_MAX)
        # Where an operator was restarting the only broker when the trouble ended, it counts from its start.
        failover_ms = loop.now_ms - max(calm_ms, min(broker.started_ms for broker in world.brokers))
        if failover_ms > _failover_ms_max(swarm):
            world.failed(f"rule 16: {failover_ms:.0f} ms after the trouble somebody leads, which took too long")
        settle_ms = SETTLE_MS_MAX + SETTLE_A_JOB_MS * _live_jobs(world)
        end = calm_ms + settle_ms
        loop.run(lambda: _is_over(world, calm_ms) or loop.now_ms > end or len(world.problems) > problems_max)
        settled_ms = loop.now_ms - calm_ms
        if loop.now_ms > end:
            world.failed(f"rule 16: {settle_ms:.0f} ms after the trouble not every job has ended: {_left(world)}")
        takeovers = sum(1 for at_ms, _ in world.failovers if at_ms > calm_ms)
        if takeovers > CALM_TAKEOVERS_MAX:
            world.failed(f"rule 16: {takeovers} takeovers after the trouble was over")
    except RuntimeError as stuck:
        stopped = str(stuck)
        world.failed(stopped)
    problems = world.problems + world.bucket.broken + loop.failures + loop.unseen_errors()
    problems += _judge(world, problems_max)
    operations = len(world.history)
    return Result(
        seed=swarm.seed,
        problems=list(dict.fromkeys(problems))[:problems_max],
        trace_hash=world.trace_hash,
        simulated_ms=loop.now_ms,
        steps=loop.steps,
        operations=operations,
        counts=world.counts,
        history=world.history,
        trace=world.trace,
        settled_ms=settled_ms,
        failover_ms=failover_ms,
    )


def _failover_ms_max(swarm: Swarm) -> float:
    """A timeout, a poll, and a takeover: one request given up, one longest pause, and twenty round trips."""
    _, timeout_ms, poll_ms = swarm.heartbeat_ms
    return timeout_ms + poll_ms + REQUEST_TIMEOUT_MS + BACKOFF_MAX_MS + 20 * swarm.latency_ms[1]


def _is_over(world: World, calm_ms: float) -> bool:
    """Every job has ended, and everybody has heard what they asked."""
    if world.loop.now_ms < calm_ms + 2_000:
        return False
    leaders = [broker for broker in world.brokers if broker.leads]
    if not leaders or leaders[-1].broker is None:
        return False
    engine = leaders[-1].broker.engine
    return engine.views.totals.live == 0 and not len(engine._pipeline) and not engine.inbox_length


def _live_jobs(world: World) -> int:
    return world.engines[-1].views.totals.live if world.engines else 0


def _left(world: World) -> str:
    leaders = [broker for broker in world.brokers if broker.leads]
    if not leaders or leaders[-1].broker is None:
        return "nobody leads"
    totals = leaders[-1].broker.engine.views.totals
    return f"{totals.unclaimed} wait, {totals.scheduled} are scheduled, {totals.in_progress} run"


def _judge(world: World, problems_max: int) -> list[str]:
    """What the checkers say."""
    limits = world.swarm.limits
    archive = world.bucket.archive

    def fetch(key: str) -> tuple[bytes, float] | None:
        landed = archive.get(key)
        return None if landed is None else (landed.body, landed.at_ms)

    book = Logbook.walk(fetch, limits.default_max_attempts, world.inherited())
    windows = Windows(limits.idempotency_ttl_ms, limits.request_ttl_ms, limits.settled_ttl_ms)
    found = [
        *check_history(world.history),
        *check_against_log(world.history, book, windows),
        *acknowledged_changes_are_in_the_log(world.history, book),
        *acknowledged_pauses_are_in_the_log(world.history, book),
        *times_are_decided_once(book),
        *effects_come_once(book, least_sweep_jobs(world.swarm)),
        *checkpoints_equal_the_log(world.bucket, world.inherited),
        *kept_moments_equal_the_log(
            world.bucket,
            world.inherited,
            world.swarm.retention_ms,
            clocks_hold=not {"shift wall clock", WRONG_CLOCK}.intersection(world.swarm.nemeses),
            seed=world.swarm.seed,
        ),
    ]
    _count_rare(world, book)
    assert all(commit.sequence <= SEQUENCE_MAX for commit in book.commits)
    return found[:problems_max]


def _count_rare(world: World, book: Logbook) -> None:
    """What must happen now and then, or a run proves nothing."""
    _count_events(world, book)
    _count_jobs(world, book)
    for outcome, count in outcomes(book).items():
        world.counts[f"times {outcome.name.lower()}"] += count
    world.counts.update(effects_seen(book))
    _count_requests(world)


def _count_events(world: World, book: Logbook) -> None:
    counts = world.counts
    content = {job.spec.payload.decode() for job in book.jobs.values()}
    for event in world.history:
        if event.reason or event.outcome == OK:
            counts[f"{event.operation} {event.reason or OK}"] += 1
        if event.operation == "get" and event.outcome == OK and event.arguments.get("wait_ms"):
            counts["waits that saw the end"] += event.answer["status"] in ("completed", "dead", "cancelled")
        if event.outcome == UNKNOWN and event.operation == "submit":
            applied = event.arguments["payload"] in content
            counts["unknown outcomes that happened" if applied else "unknown outcomes that did not"] += 1


def _count_jobs(world: World, book: Logbook) -> None:
    counts = world.counts
    for job in book.jobs.values():
        counts[f"jobs that ended {job.status.wire}"] += 1
        for option in OPTIONS:
            counts[f"submit with {option}"] += bool(getattr(job.spec, option))
        for claim in job.claims:
            if claim.ending is not None:
                counts[f"attempts {claim.ending.name.lower()}"] += 1


def _count_requests(world: World) -> None:
    counts = world.counts
    for broker in world.brokers:
        if broker.broker is not None:
            log = broker.broker.counters
            for name in (
                "puts_settled_ours", "puts_settled_absent", "puts_settled_other", "root_swaps_unsettled",
                "candidacies_lost", "checkpoints", "deletes",
            ):  # fmt: skip
                counts[f"log {name}"] += getattr(log, name)
        if broker.throttle is not None:
            counts["reads throttled"] += broker.throttle.stats.throttled_reads
            counts["writes throttled"] += broker.throttle.stats.throttled_writes
