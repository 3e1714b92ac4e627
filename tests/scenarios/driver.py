"""Plays a scenario: a text file that says what is asked of a queue, and what it answers.

One line is one step: `verb words … -> answer`. A step without an arrow must not be refused;
what it answers is not looked at. `#` begins a comment. Behind the lines stand a real
broker, its log and its bucket, on a virtual clock.

Jobs have the names under which they were submitted. `a#2` is the second attempt of job a; `a`
alone stands for its latest attempt, or the first in an answer.

    submit a type=email priority=2 key=k delay=5s attempts=3 lease=10s timeout=1m retention=1h backoff=2s ondead=refund
    submit a unique=k scope=queue until=started conflict=debounce running=cancel ttl=1h wait=1m -> a created
    submit a sequence=s afterdead=skip
    submit a fair=acme          weigh acme 2.5
    claim w1 max=2 types=email,sms wait=10s claimkey=c lease=5s    -> a b#2
    complete a follow=b,c       -> ok b c       what follows it has these names
    complete a result=42        fail a delay=5s retryable=no error=Oops        release a
    claim w1    -> a.dead1      what the first death of a submitted
    limit api max=2 rate=10/1m+5 keyed=yes newest=yes waiting=3    submit a limits=api:acme*2,db    unlimit api
    override api acme max=3 for=1h                  override api acme    takes that back
    complete a used=api*30      fail and release likewise; release a hold=api*30s    resetkey api acme
    heartbeat a                 every one of these: by=w1 without a token, or with the token of a#1
    cancel a    retry a    purge a    run a    update a priority=5 delay=1h    pause email    resume email
    schedule s every=1m overlap=buffer_one missed=all       put it; its times are s+60s, s+120s, … from here on
    times s     -> s+60s:fired s+120s:skipped       what became of the last ones
    trigger s   -> s.now1       stop s        go s        forget s
    job a       -> completed attempts=1 result=42
    history a   -> 1 failed by w1, 2 completed by w2
    stats       -> unclaimed=1 dead=0
    commits     -> 1            how many commits there were since this was asked last
    advance 31s
    later x claim w1 wait=1m    begins a step without waiting for it; then  x -> a  or  x -> waiting
    gone x                      the caller of that step hangs up
    checkpoint    restart    failover

Answers of calls that are refused are the reason, such as LEASE_LOST.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from unittest import mock

from osqueue_service.broker import Broker
from osqueue_service.errors import OsqueueError
from osqueue_service.leadership.term import Term
from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.state import commands
from osqueue_service.state.commands import FailAnswer, Granted
from osqueue_service.state.model import Job, JobSpec, LimitUse, MoreOfSpec, RetryPolicy, Status
from osqueue_service.state.named_limits import AtLimit, NamedLimit, Override, Rate
from osqueue_service.state.records import JobChange
from osqueue_service.state.schedule_control import existing
from osqueue_service.state.schedules import Missed, Overlap, ScheduleSpec
from osqueue_service.state.state import State
from osqueue_service.state.unique import AfterDead, IfRunning, InSequence, OnConflict, Scope, Unique, Until
from tests.simulation.swarm import Swarm
from tests.simulation.watched import patched
from tests.simulation.world import SimBroker, World

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Mismatch(AssertionError):
    """The queue answered something else than the scenario says."""


def play(path: Path) -> None:
    """Run the scenario; `Mismatch` names the line."""
    # The leader renews once an hour, so that weeks pass quickly.
    world = World(
        Swarm(
            0,
            brokers=1,
            sole_owner=True,
            limits=DEFAULT_LIMITS,
            heartbeat_ms=(3_600_000.0, 36_000_000.0, 1_000.0),
            latency_ms=(1.0, 1.0),
        )
    )
    with patched(world):
        scenario = Scenario(world)
        task = world.loop.world.spawn(scenario.play(path.read_text().splitlines()))
        world.loop.run(task.done)
        task.result()
    problems = world.problems + world.bucket.broken + world.loop.failures
    world.over = True
    world.loop.dispose()
    assert not problems, problems


class Scenario:
    """One run of one file."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ids: dict[str, str] = {}
        self.leases: dict[str, list[tuple[str, Granted]]] = {}
        self.begun: dict[str, asyncio.Task[str]] = {}
        self.anchors: dict[str, int] = {}
        self.counted = 0

    async def play(self, lines: list[str]) -> None:
        await self._led()
        for number, line in enumerate(lines, 1):
            text = line.split("#", 1)[0] if line.lstrip().startswith("#") else re.sub(r"\s#\s.*", "", line)
            if not text.strip():
                continue
            step, _, expected = (part.strip() for part in text.partition("->"))
            answer = await self._step(step.split())
            if expected and not _agrees(expected, answer):
                raise Mismatch(f"line {number}: {step}\n  expected  {expected}\n  answered  {answer}")
            if not expected and answer.isupper() and "_" in answer:
                raise Mismatch(f"line {number}: {step}\n  refused   {answer}")

    # --- steps -------------------------------------------------------------------------------------------------------

    async def _step(self, words: list[str]) -> str:
        verb, *rest = words
        if verb in self.begun:
            await asyncio.sleep(0.1)
            task = self.begun[verb]
            return task.result() if task.done() else "waiting"
        if verb == "later":
            name, *step = rest
            self.begun[name] = asyncio.ensure_future(self._step(step))
            await asyncio.sleep(0.1)
            return ""
        if verb == "gone":
            self.begun.pop(rest[0]).cancel()
            await asyncio.sleep(0.1)
            return ""
        plain = [word for word in rest if "=" not in word]
        options = dict(word.split("=", 1) for word in rest if "=" in word)
        play: Callable[..., Coroutine[Any, Any, str]] = getattr(self, f"_{verb}")
        try:
            return await play(*plain, **options)
        except OsqueueError as refusal:
            return refusal.reason

    async def _submit(self, name: str, **options: str) -> str:
        engine = self.broker.engine
        spec = JobSpec(
            options.pop("type", ""),
            options.pop("payload", "{}").encode(),
            int(options.pop("priority", 0)),
            int(options.pop("attempts", 0)),
            engine.now_ms() + _ms(options.pop("delay")) if "delay" in options else 0,
            _ms(options.pop("lease", "0s")),
            _ms(options.pop("timeout", "0s")),
            _ms(options.pop("retention", "0s")),
            options.pop("key", ""),
            RetryPolicy(_ms(options.pop("backoff")), jitter=0.0) if "backoff" in options else None,
            None,
            _more(options),
        )
        request_id = options.pop("request", "")
        assert not options, f"unknown options of submit: {options}"
        (answer,) = await engine.execute(commands.Submit([spec], True, request_id))
        self.ids.setdefault(name, answer.job_id)
        known = self._name(answer.job_id)
        words = [known, "deduplicated" * answer.deduplicated, answer.outcome.name.lower() * bool(answer.outcome)]
        return " ".join(word for word in words if word)

    async def _claim(self, worker: str, **options: str) -> str:
        command = commands.Claim(
            worker,
            [name for name in options.get("types", "").split(",") if name],
            int(options.get("max", 1)),
            lease_ms=_ms(options.get("lease", "0s")),
            claim_key=options.get("claimkey", ""),
        )
        granted = await self.broker.engine.claim(command, _ms(options.get("wait", "0s")))
        for one in granted:
            self._name_after_a_death(one)
            self._name_after_a_time(one)
            leases = self.leases.setdefault(self._name(one.job_id), [])
            if all(lease.token != one.token for _, lease in leases):
                leases.append((worker, one))
        return " ".join(self._attempt(one) for one in granted) or "nothing"

    def _name_after_a_death(self, granted: Granted) -> None:
        """What the deaths of a job submitted is called after it."""
        more = granted.spec.more
        if granted.job_id not in self.ids.values() and more is not None and more.origin is not None:
            dead = self._name(granted.came_from)
            number = sum(name.startswith(f"{dead}.dead") for name in self.ids) + 1
            self.ids[f"{dead}.dead{number}"] = granted.job_id

    def _name_after_a_time(self, granted: Granted) -> None:
        """What a schedule submitted is called after it and its time."""
        more = granted.spec.more
        if granted.job_id not in self.ids.values() and more is not None and more.schedule:
            self.ids[self._time(more.schedule, more.scheduled_for)] = granted.job_id

    def _time(self, schedule: str, nominal: int) -> str:
        return f"{schedule}+{(nominal - self.anchors[schedule]) // 1_000}s"

    async def _complete(self, attempt: str, result: str = "", by: str = "", follow: str = "", used: str = "") -> str:
        names = [name for name in follow.split(",") if name]
        follow_ups = [JobSpec("", b"{}") for _ in names]
        item = commands.CompleteItem(
            *self._proof(attempt, by), result.encode() if result else None, follow_ups, _report(used)
        )
        (answer,) = await self.broker.engine.execute(commands.Complete([item]))
        if not isinstance(answer, commands.Followed):
            return _only([answer])
        for name, followed in zip(names, answer.answers, strict=False):
            if followed.job_id not in self.ids.values():
                self.ids[name] = followed.job_id
        words = [self._name(followed.job_id) for followed in answer.answers]
        return " ".join(["ok", *words, *(["withheld"] if answer.withheld else [])])

    async def _fail(self, attempt: str, **options: str) -> str:
        delay_ms = _ms(options["delay"]) if "delay" in options else -1
        retryable = options.get("retryable", "yes") == "yes"
        item = commands.FailItem(
            *self._proof(attempt, options.get("by", "")),
            options.get("error", ""),
            "",
            retryable,
            delay_ms,
            report=_report(options.get("used", "")),
        )
        return _only(await self.broker.engine.execute(commands.Fail([item])))

    async def _limit(self, name: str, **options: str) -> str:
        limit = NamedLimit(
            name,
            int(options.get("max", -1)),
            _rate(options.get("rate", "")),
            options.get("keyed", "no") == "yes",
            AtLimit.CANCEL_NEWEST if options.get("newest", "no") == "yes" else AtLimit.WAIT,
            int(options.get("waiting", 0)),
        )
        return "new" if await self.broker.engine.execute(commands.PutLimit(limit)) else "changed"

    async def _weigh(self, key: str, weight: str) -> str:
        await self.broker.engine.execute(commands.PutFairnessWeight(key, round(float(weight) * 1_000)))
        return "ok"

    async def _unlimit(self, name: str, detach: str = "no") -> str:
        done = await self.broker.engine.execute(commands.DeleteLimit(name, detach == "yes"))
        return f"named by {done.named}" if done.deleted else "nothing"

    async def _override(self, name: str, key: str, **options: str) -> str:
        engine, until = self.broker.engine, 0
        if "for" in options:
            until = engine.now_ms() + _ms(options["for"])
        override = Override(int(options.get("max", -1)), _rate(options.get("rate", "")), until) if options else None
        await engine.execute(commands.SetLimitOverride(name, key, override))
        return "ok"

    async def _resetkey(self, name: str, key: str = "") -> str:
        await self.broker.engine.execute(commands.ResetLimitKey(name, key))
        return "ok"

    async def _release(self, attempt: str, by: str = "", used: str = "", hold: str = "") -> str:
        item = commands.ReleaseItem(*self._proof(attempt, by), _report(used, hold))
        return _only(await self.broker.engine.execute(commands.Release([item])))

    async def _heartbeat(self, attempt: str, by: str = "") -> str:
        _, cancel_requested = await self.broker.engine.heartbeats.beat(*self._proof(attempt, by))
        return "cancel requested" if cancel_requested else "ok"

    async def _cancel(self, name: str) -> str:
        return _only(await self.broker.engine.execute(commands.Cancel([self.ids[name]])))

    async def _retry(self, name: str) -> str:
        return _only(await self.broker.engine.execute(commands.Retry([self.ids[name]])))

    async def _run(self, name: str) -> str:
        return await self._change(name, JobChange(run_at=0))

    async def _update(self, name: str, priority: str = "", delay: str = "", payload: str = "") -> str:
        run_at = self.broker.engine.now_ms() + _ms(delay) if delay else None
        return await self._change(
            name, JobChange(int(priority) if priority else None, run_at, payload.encode() if payload else None)
        )

    async def _change(self, name: str, change: JobChange) -> str:
        return _only(await self.broker.engine.execute(commands.Update([self.ids[name]], change)))

    async def _purge(self, name: str) -> str:
        return _only(await self.broker.engine.execute(commands.Purge([self.ids[name]])))

    async def _schedule(self, name: str, **options: str) -> str:
        engine = self.broker.engine
        begin = self.anchors.setdefault(name, engine.now_ms())
        template = JobSpec(options.pop("type", ""), b"{}", max_attempts=int(options.pop("attempts", 0)))
        spec = ScheduleSpec(
            template,
            every_ms=_ms(options.pop("every")),
            anchor_at=begin,
            overlap=Overlap[options.pop("overlap", "skip").upper()],
            missed=Missed[options.pop("missed", "latest").upper()],
            max_fires=int(options.pop("fires", 0)),
            pause_after_dead=int(options.pop("deaths", 0)),
        )
        assert not options, f"unknown options of schedule: {options}"
        schedule = await engine.execute(commands.PutSchedule(name, spec))
        return f"revision={schedule.revision}"

    async def _times(self, name: str) -> str:
        def view(state: State) -> str:
            told = existing(state, name).recent
            words = [f"{self._time(name, firing.nominal)}:{firing.outcome.name.lower()}" for firing in told]
            return " ".join(
                f"{word}*{firing.count}" if firing.count > 1 else word for word, firing in zip(words, told, strict=True)
            )

        return await self.broker.engine.views.read(view) or "none"

    async def _trigger(self, name: str) -> str:
        ((job_id, _),) = await self.broker.engine.execute(commands.TriggerSchedule(name))
        number = sum(known.startswith(f"{name}.now") for known in self.ids) + 1
        self.ids[f"{name}.now{number}"] = job_id
        return f"{name}.now{number}"

    async def _stop(self, name: str) -> str:
        await self.broker.engine.execute(commands.PauseSchedule(name))
        return "ok"

    async def _go(self, name: str) -> str:
        await self.broker.engine.execute(commands.ResumeSchedule(name))
        return "ok"

    async def _forget(self, name: str) -> str:
        return "ok" if await self.broker.engine.execute(commands.DeleteSchedule(name)) else "nothing"

    async def _pause(self, *types: str) -> str:
        return " ".join(await self.broker.engine.execute(commands.PauseTypes(types)))

    async def _resume(self, *types: str) -> str:
        return " ".join(await self.broker.engine.execute(commands.ResumeTypes(types)))

    # --- looking -----------------------------------------------------------------------------------------------------

    async def _job(self, name: str) -> str:
        def view(state: State) -> str:
            job = state.find(self.ids[name])
            return "JOB_NOT_FOUND" if job is None else _described(job)

        return await self.broker.engine.views.read(view)

    async def _history(self, name: str) -> str:
        def view(state: State) -> str:
            ended = [f"{a.number} {a.ending.name.lower()} by {a.worker_id}" for a in state.get(self.ids[name]).history]
            return ", ".join(ended) or "none"

        return await self.broker.engine.views.read(view)

    async def _stats(self) -> str:
        totals = self.broker.engine.views.totals
        names = ("unclaimed", "scheduled", "in_progress", "completed", "dead", "cancelled")
        return " ".join(f"{name}={getattr(totals, name)}" for name in names)

    async def _commits(self) -> str:
        now = sum(1 for key in self.world.bucket.archive if key.startswith("log/"))
        since, self.counted = now - self.counted, now
        return str(since)

    # --- what happens to the broker ----------------------------------------------------------------------------------

    async def _advance(self, by: str) -> str:
        await asyncio.sleep(_ms(by) / 1_000)
        return ""

    async def _checkpoint(self) -> str:
        """Write a checkpoint now, and wait until the root vouches for it and the log before it is gone."""
        with (
            mock.patch.object(Term, "checkpoint_due", lambda term: True),
            mock.patch("osqueue_service.engine.checkpointing.changes_of", lambda state: 1_000_000_000),
        ):
            checkpointer = self.broker.engine._checkpointer
            written, checkpointer._changes_before = checkpointer.written, 0
            checkpointer.consider(self.broker._clock.monotonic_ms())
            while checkpointer.written == written:
                await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        return ""

    async def _restart(self) -> str:
        """As by kill -9, and started again."""
        node = self.world.brokers[0]
        node.kill()
        node.start()
        await self._led()
        return ""

    async def _failover(self) -> str:
        """The leader is gone for good; another broker takes over."""
        world = self.world
        world.brokers.pop().kill()
        world.brokers.append(SimBroker(world, "another broker"))
        await self._led()
        return ""

    async def _led(self) -> None:
        while not self.world.brokers[0].leads:
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.1)

    @property
    def broker(self) -> Broker:
        broker = self.world.brokers[0].broker
        assert broker is not None
        return broker

    # --- names -------------------------------------------------------------------------------------------------------

    def _name(self, job_id: str) -> str:
        return next((name for name, known in self.ids.items() if known == job_id), job_id)

    def _attempt(self, granted: Granted) -> str:
        name = self._name(granted.job_id)
        return name if granted.attempt == 1 else f"{name}#{granted.attempt}"

    def _proof(self, attempt: str, by: str) -> tuple[str, str, str]:
        """Job, worker and token: the token of that attempt, or none where only a worker is named."""
        name, _, number = attempt.partition("#")
        if by:
            return self.ids[name], by, ""
        leases = self.leases.get(name)
        if not leases:
            return self.ids.get(name, name), "w", "no-token"
        worker, granted = next((lease for lease in leases if number and lease[1].attempt == int(number)), leases[-1])
        return granted.job_id, worker, granted.token


def _more(options: dict[str, str]) -> MoreOfSpec | None:
    """What few jobs ask for."""
    on_dead = JobSpec(options.pop("ondead"), b"{}") if "ondead" in options else None
    unique = None
    if "unique" in options:
        unique = Unique(
            options.pop("unique"),
            Scope[options.pop("scope", "type").upper()],
            Until[options.pop("until", "finished").upper()],
            OnConflict[options.pop("conflict", "keep").upper()],
            IfRunning[options.pop("running", "keep").upper()],
            _ms(options.pop("ttl", "0s")),
            _ms(options.pop("wait", "0s")),
        )
    limits = tuple(_use(text) for text in options.pop("limits", "").split(",") if text)
    sequence = None
    if "sequence" in options:
        sequence = InSequence(options.pop("sequence"), AfterDead[options.pop("afterdead", "hold").upper()])
    fairness_key = options.pop("fair", "")
    if not (on_dead or unique or limits or sequence or fairness_key):
        return None
    return MoreOfSpec(on_dead=on_dead, unique=unique, limits=limits, sequence=sequence, fairness_key=fairness_key)


def _ms(text: str) -> int:
    """`90s`, `5m`, `250ms` in milliseconds."""
    found = re.fullmatch(r"(\d+)(ms|s|m|h|d)", text)
    assert found, f"not a duration: {text}"
    return int(found[1]) * _UNITS[found[2]]


def _only(answers: list[Any]) -> str:
    """The one answer, as scenarios write it."""
    (answer,) = answers
    if isinstance(answer, OsqueueError):
        return answer.reason
    if isinstance(answer, FailAnswer):
        return answer.status.wire
    return answer.wire if isinstance(answer, Status) else "ok"


def _described(job: Job) -> str:
    words = [job.status.wire, f"attempts={job.attempts}"]
    if job.result is not None:
        words.append(f"result={job.result.decode()}")
    if job.cancel_requested:
        words.append("cancel_requested")
    return " ".join(words)


def _agrees(expected: str, answer: str) -> bool:
    """Whether they are the same; where the answer has `name=value` words, those not expected are not looked at."""
    if expected == answer:
        return True
    wanted, given = expected.split(), answer.split()
    return "=" in answer and all(word in given for word in wanted)


def _use(text: str) -> LimitUse:
    """name:key*cost."""
    named, _, cost = text.partition("*")
    name, _, key = named.partition(":")
    return LimitUse(name, key, int(cost or 1))


def _rate(text: str) -> Rate | None:
    """limit/period+burst."""
    if not text:
        return None
    limit, _, rest = text.partition("/")
    period, _, burst = rest.partition("+")
    return Rate(int(limit), _ms(period), int(burst or limit))


def _report(used: str, hold: str = "") -> commands.LimitReport | None:
    """name*used and name*time, several with commas."""
    usage = tuple((name, int(count)) for name, _, count in (each.partition("*") for each in used.split(",") if each))
    backoff = tuple((name, _ms(time)) for name, _, time in (each.partition("*") for each in hold.split(",") if each))
    return commands.LimitReport(usage, backoff) if usage or backoff else None
