"""Random schedules of several brokers keep every promise; planted bugs break one, and are caught.

OSQUEUE_SCHEDULES is the number of schedules, if the default is not enough.
"""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from osqueue_service.errors import Deposed, NotLeader, StoreRefused
from osqueue_service.leadership import following, held_root, renewal, takeover, term
from osqueue_service.log import Position, Root, appender, checkpoints, cleanup, recovery, settle
from osqueue_service.log.paths import CHECKPOINTS_PREFIX, ROOT, parse_segment_key
from osqueue_service.log.root import decode_root
from osqueue_service.log.segment import Fence, decode
from osqueue_service.log.settle import Settled
from tests.unit.leadership.schedules import run_schedule
from tests.unit.leadership.world import Violation, Weather

SEEDS = int(os.environ.get("OSQUEUE_SCHEDULES", "600"))
SEEDS_TO_CATCH_A_BUG = 200

STORM = Weather(latency_ms=1, lost_before=0.1, faints=0.15)
"""Few delays, many pauses: processes wake up in the middle of what others have finished."""

Patch = Callable[[pytest.MonkeyPatch], None]


def sizes(patch: pytest.MonkeyPatch, seed: int) -> None:
    """Let checkpoints lie in the root, in one object, or in several."""
    patch.setattr(term, "INLINE_BYTES_MAX", 256 * 1024 if seed % 2 else 40)
    patch.setattr(checkpoints, "PART_BYTES", 4 * 1024 * 1024 if seed % 4 else 60)


def note_what_is_not_trusted(patch: pytest.MonkeyPatch, met: Counter[str]) -> None:
    """Count the takeovers that had something followed, and did not go on from it."""
    give = following.Follower.give

    async def noted(self: following.Follower, *rest: Any) -> Position | None:
        followed = self.sequence
        place = await give(self, *rest)
        met["followed in vain"] += bool(followed) and place is None
        return place

    patch.setattr(following.Follower, "give", noted)


@pytest.mark.parametrize("block", range(4))
def test_every_promise_is_kept(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    met: Counter[str] = Counter()
    note_what_is_not_trusted(monkeypatch, met)
    for seed in range(block * SEEDS // 4, (block + 1) * SEEDS // 4):
        sizes(monkeypatch, seed)
        try:
            met += run_schedule(seed)
        except Exception as violation:
            raise AssertionError(f"schedule {seed}: {violation}") from violation
    rare = (
        "acknowledged", "unknown", "deduplicated", "checkpoint", "linearizable read", "leased read", "pause",
        "late landing", "candidacies_lost", "fences_met", "puts_settled_ours", "puts_settled_other", "deletes_failed",
        "takeovers_followed", "standby_failures", "followed in vain",
    )  # fmt: skip
    assert not [event for event in rare if not met[event]], "schedules that meet nothing show nothing"


def test_a_schedule_repeats_with_its_seed() -> None:
    assert run_schedule(7) == run_schedule(7)


# --- planted bugs ---


def acknowledge_early(patch: pytest.MonkeyPatch) -> None:
    append = appender.Appender.append

    def hasty(self: appender.Appender, records: bytes, count: int) -> "asyncio.Future[int]":
        append(self, records, count)
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        answer.set_result(self.appended.sequence)
        return answer

    patch.setattr(appender.Appender, "append", hasty)


def answer_out_of_order(patch: pytest.MonkeyPatch) -> None:
    def release(self: appender.Appender) -> None:
        for flight in [flight for flight in self._flights if flight.landed]:
            self._flights.remove(flight)
            self.released = flight.after
            if not flight.answer.done():
                flight.answer.set_result(flight.after.sequence)
        self._wake()

    patch.setattr(appender.Appender, "_release", release)


def put_no_fence(patch: pytest.MonkeyPatch) -> None:
    put = settle.Settler.put

    async def fenceless(self: settle.Settler, key: str, body: bytes) -> Settled:
        if parse_segment_key(key) and isinstance(decode(key, body).entry, Fence):
            return Settled(None, 1)
        return await put(self, key, body)

    patch.setattr(settle.Settler, "put", fenceless)


def delete_fences(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(cleanup.Cleanup, "_delete_unless_fence", cleanup.Cleanup._delete)


def take_412_for_success(patch: pytest.MonkeyPatch) -> None:
    put = settle.Settler.put

    async def hopeful(self: settle.Settler, key: str, body: bytes) -> Settled:
        settled = await put(self, key, body)
        return Settled(None, settled.tries)

    patch.setattr(settle.Settler, "put", hopeful)


def take_412_for_lost(patch: pytest.MonkeyPatch) -> None:
    async def gloomy(self: appender.Appender, flight: Any) -> None:
        try:
            await self._settler.store.put_if_absent(flight.key, flight.body)
        except StoreRefused:
            if not flight.answer.done():
                flight.answer.set_exception(NotLeader("refused"))
            self.end(Deposed("refused", epoch=0))
        except Exception:  # noqa: BLE001
            await gloomy(self, flight)
        else:
            flight.landed = True
            self._release()

    patch.setattr(appender.Appender, "_put", gloomy)


def tell_the_deposed_refused(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(appender, "OutcomeUnknown", NotLeader)


def renew_blindly(patch: pytest.MonkeyPatch) -> None:
    swap = held_root.HeldRoot.swap

    async def blind(self: held_root.HeldRoot, change: Any) -> None:
        found = await self._settler.read(ROOT)
        assert found is not None
        self._version = found.version
        await swap(self, change)

    patch.setattr(held_root.HeldRoot, "swap", blind)


def point_before_the_object(patch: pytest.MonkeyPatch) -> None:
    put = settle.Settler.put

    async def later(self: settle.Settler, key: str, body: bytes) -> Settled:
        if not key.startswith(CHECKPOINTS_PREFIX):
            return await put(self, key, body)
        left.append(asyncio.ensure_future(put(self, key, body)))
        left[-1].add_done_callback(lambda put: put.cancelled() or put.exception())
        return Settled(None, 1)

    left: list[Any] = []
    patch.setattr(settle.Settler, "put", later)


def clean_before_the_swap(patch: pytest.MonkeyPatch) -> None:
    publish = term.Term._publish

    async def hasty(self: term.Term, position: Any, *rest: Any) -> None:
        await self.appender.until_released(position.sequence)
        await self._cleanup.run(position.sequence, self._held.root.checkpoint)
        await publish(self, position, *rest)

    patch.setattr(term.Term, "_publish", hasty)


def clean_after_being_deposed(patch: pytest.MonkeyPatch) -> None:
    publish = term.Term._publish

    async def stubborn(self: term.Term, position: Any, *rest: Any) -> None:
        with contextlib.suppress(Deposed, NotLeader):
            await publish(self, position, *rest)

    def end(self: term.Term, reason: Exception) -> None:
        cleaning, self._cleaning = self._cleaning, None
        original_end(self, reason)
        self._cleaning = cleaning

    original_end = term.Term.end
    patch.setattr(term.Term, "end", end)
    patch.setattr(term.Term, "_publish", stubborn)


def never_renew(patch: pytest.MonkeyPatch) -> None:
    """No bug by itself: leaders are deposed all the time. But a renewal notices what other bugs need unnoticed."""

    async def idle(self: renewal.Renewal) -> None:
        await asyncio.Event().wait()

    patch.setattr(renewal.Renewal, "_run", idle)


def trust_the_fence_alone(patch: pytest.MonkeyPatch) -> None:
    # Looking behind the gap finds out nearly always, and would hide this bug.
    async def unsuspecting(self: recovery.Replay) -> None:
        return None

    patch.setattr(recovery.Replay, "lost_at_gap", unsuspecting)
    never_renew(patch)

    async def trusting(self: takeover.Takeover, held: held_root.HeldRoot) -> Any:
        try:
            return await self._replay_and_fence(held)
        except Exception:
            await held.confirm()
            raise

    patch.setattr(takeover.Takeover, "_rebuild", trusting)


def go_on_past_a_higher_epoch(patch: pytest.MonkeyPatch) -> None:
    create = recovery.Replay.__init__

    def careless(self: recovery.Replay, settler: Any, start: Any, **options: Any) -> None:
        create(self, settler, start, **{**options, "candidate": None})

    patch.setattr(recovery.Replay, "__init__", careless)
    never_renew(patch)


def call_local_reads_linearizable(patch: pytest.MonkeyPatch) -> None:
    async def unread(self: term.Term) -> None:
        if self.lost.over:
            raise NotLeader("over")

    patch.setattr(term.Term, "confirm", unread)


def lease_from_the_answer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(term.Term, "is_live", lambda self: not self.lost.over)


def one_name_for_all(patch: pytest.MonkeyPatch) -> None:
    from tests.unit.log.virtual import SeededIds

    take = takeover.Takeover._take_root

    async def by_name(self: Any, vacancy: Any) -> Any:
        """A root with the own names is taken for the own, whoever's bytes they are."""
        sent_ms = self._settler.clock.monotonic_ms()
        try:
            return await take(self, vacancy)
        except Deposed:
            found = await self._settler.read(ROOT)
            root = decode_root(found.body)
            epoch = vacancy.root.epoch + 1 if vacancy.root else 1
            if not isinstance(root, Root) or not root.is_of(epoch, self._incarnation):
                raise
            return held_root.HeldRoot(self._settler, self._heartbeat, root, found.version, sent_ms)

    patch.setattr(SeededIds, "incarnation", lambda self: "A" * 26)
    patch.setattr(takeover.Takeover, "_take_root", by_name)
    patch.setattr(held_root, "_digest", lambda body: b"ours")


def trust_what_was_followed(patch: pytest.MonkeyPatch) -> None:
    async def trusting(self: following.Follower, root: Any, settler: Any) -> Position | None:
        passed, self._passed = self._passed, None
        return None if passed is None else passed.end

    patch.setattr(following.Follower, "give", trusting)


@pytest.mark.parametrize(
    "plant",
    [
        acknowledge_early, answer_out_of_order, put_no_fence, delete_fences, take_412_for_success, take_412_for_lost,
        tell_the_deposed_refused, renew_blindly, point_before_the_object, clean_before_the_swap,
        clean_after_being_deposed, trust_the_fence_alone, go_on_past_a_higher_epoch, call_local_reads_linearizable,
        lease_from_the_answer, one_name_for_all, trust_what_was_followed,
    ],
)  # fmt: skip
def test_a_planted_bug_is_caught(plant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    for seed in range(SEEDS_TO_CATCH_A_BUG):
        sizes(monkeypatch, seed)
        with contextlib.suppress(Violation):
            run_schedule(seed, weather=STORM if seed % 2 else None)
            continue
        return
    pytest.fail(f"{SEEDS_TO_CATCH_A_BUG} schedules did not notice it")
