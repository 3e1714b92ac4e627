"""Executing commands: decide, apply, and put what came of it into the batch of one commit."""

import asyncio
from collections.abc import Callable
from typing import Any

from osqueue_service.engine.dispatch import Dispatcher
from osqueue_service.engine.followers import Followers
from osqueue_service.engine.inbox import Entry
from osqueue_service.engine.pipeline import Batch, Reply
from osqueue_service.errors import OsqueueError, TooManyRequests, kept
from osqueue_service.limits import Limits
from osqueue_service.state.commands import Claim, Command
from osqueue_service.state.machine import decide, decide_effects, effects_of
from osqueue_service.state.records import AnyRecord
from osqueue_service.state.state import State


class Execution:
    """The only caller of the state machine. `on_wait` hears of every claim that begins to wait."""

    def __init__(
        self,
        state: State,
        followers: Followers,
        dispatcher: Dispatcher,
        *,
        limits: Limits,
        on_wait: Callable[[], None],
    ) -> None:
        self._state = state
        self._followers = followers
        self._dispatcher = dispatcher
        self._limits = limits
        self._on_wait = on_wait

    def execute(self, entry: Entry, batch: Batch) -> None:
        """Decide and apply what a caller asked; its reply goes with this commit."""
        command = entry.command
        if isinstance(command, Claim):
            if command.claim_key:
                self._dispatcher.repeated(command)
            self._dispatcher.stamp(command)
            self._grant(command, entry.answer, batch, entry.wait_ms)
            return
        try:
            answer = self.change(command, batch)
        except OsqueueError as refusal:
            answer = kept(refusal)
        batch.replies.append(Reply(entry.answer, answer, True))

    def serve_waiting(self, batch: Batch) -> None:
        """Hand out what the claims that wait can have now."""
        if self._dispatcher.waiting.count:
            self._dispatcher.serve(lambda claim, answer: self._grant(claim, answer, batch), batch.at_ms)

    def change(self, command: Command, batch: Batch) -> Any:
        """Decide and apply; returns the answer, or raises the refusal, which changed nothing."""
        records, answer = decide(self._state, command, batch.at_ms, self._limits)
        if records:
            self._apply(records, batch)
        while effects := decide_effects(self._state, self._limits, self._limits.sweep_jobs - batch.effects):
            self._apply(effects, batch)
            batch.effects += effects_of(effects)
        return answer

    def _apply(self, records: list[AnyRecord], batch: Batch) -> None:
        for record in records:
            self._followers.apply(record, batch)
        batch.records += records

    def check_waiting(self) -> None:
        """Raise TOO_MANY_REQUESTS when no more claims may wait."""
        waiting_max = self._limits.waiting_claims
        if self._dispatcher.waiting.count >= waiting_max:
            raise TooManyRequests(
                f"{waiting_max} claims wait for a job, which is the limit (waiting_claims): claim without wait_ms, or "
                "with fewer workers",
                retry_after_ms=1_000,
            )

    def _grant(self, claim: Claim, answer: "asyncio.Future[Any]", batch: Batch, wait_ms: int = 0) -> None:
        """Execute a claim. Its jobs become durable in the same commit as what made them ready."""
        granted = self.change(claim, batch)
        if not granted and wait_ms:
            try:
                self.check_waiting()  # again: others of this batch may have taken the last places
                self._dispatcher.wait(claim, answer, wait_ms)
                self._on_wait()
            except TooManyRequests as refusal:
                batch.replies.append(Reply(answer, kept(refusal), False))
            return
        self._dispatcher.watch(claim, granted, answer)
        batch.replies.append(Reply(answer, granted, True))
