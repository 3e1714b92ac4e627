"""Handing jobs to claims: those that find one at once, and those that wait for one."""

import asyncio
from collections.abc import Callable
from typing import Any

from osqueue_service.clock import Clock
from osqueue_service.engine.waiting import WaitingClaims
from osqueue_service.ids import IdSource
from osqueue_service.state.commands import Claim, Granted, Release, ReleaseItem
from osqueue_service.state.lines import Lines

Answer = asyncio.Future[list[Granted]]


class _Unheard:
    """A grant that none of its callers has heard of yet: a claim key may have several, one after the other."""

    __slots__ = ("callers", "heard", "withdrawn")

    def __init__(self) -> None:
        self.callers = 0
        self.heard = False
        self.withdrawn: asyncio.Future[Any] | None = None


class Dispatcher:
    """Serves claims from the lines of one queue.

    `release` takes jobs that were granted to a caller that is gone before it heard of them; cancelling what it
    returns calls that off, as long as it is not under way.
    """

    def __init__(
        self, lines: Lines, clock: Clock, ids: IdSource, release: "Callable[[Release], asyncio.Future[Any]]"
    ) -> None:
        self.waiting = WaitingClaims()
        self._lines = lines
        self._clock = clock
        self._ids = ids
        self._release = release
        self._unheard: dict[tuple[str, str], _Unheard] = {}
        self._named: dict[tuple[str, str], Answer] = {}
        """Claims that wait, by worker and key."""

    def repeated(self, claim: Claim) -> None:
        """The claim has arrived. An earlier one of the same key waits no longer: its caller has given it up, and who is
        between may not have noticed."""
        earlier = self._named.pop((claim.worker_id, claim.claim_key), None)
        if earlier is not None and not earlier.done():
            earlier.set_result([])

    def stamp(self, claim: Claim, share: int | None = None) -> None:
        """Draw a token for every job that the claim may get, at most `share`."""
        most = min(claim.max_jobs, self._lines.at_most(claim.types))
        if share is not None:
            most = min(most, share)
        claim.tokens = [self._ids.token() for _ in range(most)]

    def wait(self, claim: Claim, answer: Answer, wait_ms: int) -> None:
        """The claim found no job: it waits, and is answered empty when its time is up."""
        waiting = self.waiting.add(claim, answer)
        name = (claim.worker_id, claim.claim_key)
        if claim.claim_key:
            self._named[name] = answer

        def time_is_up() -> None:
            if not answer.done():
                answer.set_result([])

        timer = self._clock.call_later_ms(wait_ms, time_is_up)

        def over(_: object) -> None:
            timer.cancel()
            self.waiting.remove(waiting)
            if self._named.get(name) is answer:
                del self._named[name]

        answer.add_done_callback(over)

    def serve(self, grant: Callable[[Claim, Answer], None], now_ms: int) -> None:
        """Have `grant` execute every waiting claim for which a job waits now."""
        self._lines.advance(now_ms)
        for waiting, share in self.waiting.servable(self._lines):
            self.waiting.remove(waiting)
            if not waiting.answer.done():
                self.stamp(waiting.command, share)
                grant(waiting.command, waiting.answer)

    def watch(self, claim: Claim, granted: list[Granted], answer: Answer) -> None:
        """Give the jobs back if everybody they were granted to goes before hearing of them: nobody ever will.

        A caller that repeats a claim key is granted the same jobs, often before the broker notices that the caller's
        first try is gone: giving back is called off then.
        """
        if not granted:
            return
        name = (claim.worker_id, claim.claim_key)
        if granted[0].token in claim.tokens:
            grant = _Unheard()
            if claim.claim_key:
                self._unheard[name] = grant
        elif name in self._unheard:
            grant = self._unheard[name]
            if grant.withdrawn is not None:
                grant.withdrawn.cancel()
                grant.withdrawn = None
        else:
            return  # granted before, and told
        grant.callers += 1

        def forget(_: object) -> None:
            if grant.withdrawn is not None and self._unheard.get(name) is grant:
                del self._unheard[name]

        def done(settled: "asyncio.Future[Any]") -> None:
            grant.callers -= 1
            if not settled.cancelled():
                grant.heard = True
                if self._unheard.get(name) is grant:
                    del self._unheard[name]
            elif not grant.callers and not grant.heard:
                items = [ReleaseItem(job.job_id, claim.worker_id, job.token) for job in granted]
                grant.withdrawn = self._release(Release(items))
                grant.withdrawn.add_done_callback(forget)

        answer.add_done_callback(done)

    def close(self, refuse: Callable[[Answer], None]) -> None:
        """Refuse every claim that waits."""
        for waiting in list(self.waiting):
            refuse(waiting.answer)
