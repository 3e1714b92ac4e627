"""Planted bugs of the second kind: rules that nothing used to look at, each caught within 100 seeds.

Planted as those in `bugs`, which this adds to.
"""

import hashlib
from dataclasses import replace
from typing import Any

from osqueue_service.engine.authority import Authority
from osqueue_service.engine.due import Due
from osqueue_service.engine.engine import Engine
from osqueue_service.engine.execution import Execution
from osqueue_service.engine.pipeline import give
from osqueue_service.leadership import GuardedClock
from osqueue_service.log import RestorePoints, recovery
from osqueue_service.log.segment import decode
from osqueue_service.state import commands
from osqueue_service.state.image import Kind, Snapshot
from osqueue_service.storage import steady
from tests.simulation.bugs_of_graphs import BUGS, Plant, bug, planted

__all__ = ["BUGS", "planted"]


def _acknowledge_at_once(kind: type) -> Plant:
    def plant(patch: Any) -> None:
        execute = Execution.execute

        def early(self: Execution, entry: Any, batch: Any) -> None:
            execute(self, entry, batch)
            if isinstance(entry.command, kind):
                for reply in batch.replies[-1:]:
                    give(reply)

        patch(Execution, "execute", early)

    return plant


for _verb, _kind in (
    ("cancel", commands.Cancel),
    ("update", commands.Update),
    ("retry", commands.Retry),
    ("purge", commands.Purge),
    ("pause", commands.PauseTypes),
):
    bug(f"acknowledge a {_verb} early")(_acknowledge_at_once(_kind))


@bug("reads served after the leader's lease")
def _reads_outlive_the_lease(patch: Any) -> None:
    patch(Authority, "check_live", lambda self: self.check_open())


@bug("an adapter's exception ends the leader")
def _exceptions_pass(patch: Any) -> None:
    patch(steady, "unknown_outcome", lambda operation, key, surprise: surprise)


@bug("a denial that passes ends the leader")
def _denials_believed(patch: Any) -> None:
    patch(steady.Denials, "judge", lambda self, kind, denied: denied)


def _without_memory(forgotten: Kind) -> Plant:
    def plant(patch: Any) -> None:
        begin = Snapshot.__init__

        def without(self: Any, state: Any) -> None:
            begin(self, state)
            self._memories = [(kind, slices) for kind, slices in self._memories if kind is not forgotten]

        patch(Snapshot, "__init__", without)

    return plant


bug("request ids forgotten at a checkpoint")(_without_memory(Kind.REQUESTS))
bug("settled tokens forgotten at a checkpoint")(_without_memory(Kind.SETTLED))


@bug("keys forgotten during a checkpoint")
def _forgets_meanwhile(patch: Any) -> None:
    ask, sweep = Due.ask, Due.sweep
    patch(Due, "ask", lambda self, *, forget: ask(self, forget=True))
    patch(Due, "sweep", lambda self, now, *, forget: sweep(self, now, forget=True))


@bug("a snapshot loses the job at its cursor")
def _loses_at_cursor(patch: Any) -> None:
    on_change = Snapshot._on_change

    def deaf(self: Any, job: Any) -> None:
        if job.status == self._status and job.number == self._cursor:
            self._changed.add(job.number)
        on_change(self, job)

    patch(Snapshot, "_on_change", deaf)


@bug("a clean-up takes what a restore point needs")
def _log_not_kept(patch: Any) -> None:
    patch(RestorePoints, "oldest", lambda self, sequence, epoch: (epoch, sequence))


@bug("checkpoints of restore points deleted")
def _checkpoints_not_kept(patch: Any) -> None:
    patch(RestorePoints, "holds", lambda self, sequence, epoch: False)


@bug("a clock that is far ahead leads")
def _clock_not_guarded(patch: Any) -> None:
    patch(GuardedClock, "find_fault", lambda self: None)


@bug("checksums of commits not looked at")
def _damage_believed(patch: Any) -> None:
    def trusting(key: str, body: bytes) -> Any:
        fields, stored = body[:112], body[144:]
        return decode(key, fields + hashlib.sha256(fields + stored).digest() + stored)

    patch(recovery, "decode", trusting)


@bug("caps never swept")
def _caps_ignored(patch: Any) -> None:
    begin = Engine.__init__

    def unlimited(self: Engine, term: Any, state: Any, *, limits: Any, **fields: Any) -> None:
        endless = dict.fromkeys(("finished_jobs", "finished_bytes", "dead_jobs", "dead_bytes"), 1 << 60)
        begin(self, term, state, limits=replace(limits, **endless), **fields)

    patch(Engine, "__init__", unlimited)
