"""A standby that follows the log: what its takeover still reads, when it trusts what it followed, and what it costs."""

import asyncio
import logging
import os

import pytest

from osqueue_service.errors import CorruptObject
from osqueue_service.leadership import Term, following, watch
from osqueue_service.log import Fence
from osqueue_service.log.paths import ROOT, segment_key
from osqueue_service.storage.memory import MemoryBucket
from tests.unit.leadership.brokers import HEARTBEAT, TestBroker, entry_at, kill, now_ms, pass_ms, root_of
from tests.unit.log.virtual import run

LARGE = os.urandom(300_000)
"""A chunk that does not fit in the root."""

LONG_MS = HEARTBEAT.poll_ms * following.PROBE_POLLS_MAX + 500
"""After so long a standby has looked at the log again."""


async def lead(bucket: MemoryBucket, name: str) -> Term:
    return await TestBroker(bucket, name).elect(skip_wait=True)


async def commit(term: Term, *texts: str) -> int:
    for text in texts:
        await term.appender.append(text.encode(), 1)
    return term.appender.released.sequence


async def checkpoint(term: Term, *chunks: str) -> None:
    """A checkpoint of all that was committed, and its clean-up."""
    await term.publish_checkpoint(term.appender.released.sequence, [text.encode() for text in chunks], 0)
    await pass_ms(500)


def numbered(first: int, last: int) -> list[str]:
    return [f"n{number}" for number in range(first, last + 1)]


class Standby(TestBroker):
    """Stands by and follows."""

    __test__ = False

    def __init__(self, bucket: MemoryBucket, name: str, *, follow: bool = True) -> None:
        super().__init__(bucket, name, follow=follow)
        self.election = asyncio.ensure_future(self.elect())

    def texts(self) -> list[str]:
        """What it has been given since the last beginning."""
        return [text.decode() for text in [*self.state.chunks, *(records for _, records in self.state.applied)]]

    def log_reads(self) -> int:
        return sum(key.startswith("log/") for _, key in self.store.asked)


async def taken_over(standby: Standby, term: Term) -> Term:
    """The standby's term after the death of this one."""
    kill(term)
    return await standby.election


def test_a_takeover_reads_only_what_was_not_followed() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        standby = Standby(bucket, "b")
        await commit(term, *numbered(1, 300))
        await pass_ms(LONG_MS)
        assert standby.elector.followed == 301
        kill(term)
        await pass_ms(5_000)
        assert not standby.election.done()
        await commit(term, "late")
        standby.store.asked.clear()
        successor = await standby.election
        assert standby.log_reads() < 20
        assert standby.state.begun == 1
        assert standby.texts() == [*numbered(1, 300), "late"]
        assert successor.recovered.followed >= 301
        assert successor.recovered.segments <= 1
        assert standby.elector.followed == 0
        assert await commit(successor, "next") == 304

    run(scenario())


def test_one_that_does_not_follow_reads_it_all() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        standby = Standby(bucket, "b", follow=False)
        await commit(term, *numbered(1, 30))
        await pass_ms(LONG_MS)
        assert standby.log_reads() == 0
        successor = await taken_over(standby, term)
        assert successor.recovered.followed == 0
        assert successor.recovered.segments == 30

    run(scenario())


def test_following_writes_nothing_and_an_idle_queue_is_rarely_looked_at() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        standby = Standby(bucket, "b")
        await commit(term, *numbered(1, 100))
        await pass_ms(60_000)
        assert {operation for operation, _ in standby.store.asked} == {"read"}
        standby.store.asked.clear()
        await pass_ms(600_000)
        assert standby.log_reads() <= 600_000 / (HEARTBEAT.poll_ms * following.PROBE_POLLS_MAX) + 1
        await commit(term, *numbered(1, 100))
        standby.store.asked.clear()
        await pass_ms(LONG_MS)
        assert standby.elector.followed == 201
        assert standby.log_reads() <= 100 + 2 * following.WINDOW.most

    run(scenario())


def test_fences_are_followed_into_the_lanes_they_name() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        first = await lead(bucket, "a")
        standby = Standby(bucket, "b")
        await commit(first, "1", "2")
        await pass_ms(LONG_MS)
        kill(first)
        second = await lead(bucket, "c")
        await commit(second, "3")
        await pass_ms(LONG_MS)
        successor = await taken_over(standby, second)
        assert successor.epoch == 3
        assert standby.state.begun == 1
        assert standby.texts() == ["1", "2", "3"]
        assert successor.recovered.segments == 0

    run(scenario())


@pytest.mark.parametrize("ahead", [False, True])
def test_a_checkpoint_on_the_way_is_passed(ahead: bool) -> None:
    """Its followed state is the checkpoint's, and the log is counted from there on, as by one that begins there."""

    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        standby = Standby(bucket, "b")
        await commit(term, "1", "2", "3")
        await pass_ms(LONG_MS)
        await checkpoint(term, "1", "2", "3")
        if ahead:
            await commit(term, "4", "5")
        await pass_ms(LONG_MS)
        successor = await taken_over(standby, term)
        assert standby.state.begun == 1
        assert standby.state.chunks == []
        assert standby.texts() == numbered(1, 0) + ["1", "2", "3"] + ["4", "5"] * ahead
        assert successor.recovered.followed == (6 if ahead else 4)
        assert successor.recovered.checkpoint.sequence == 4
        warm_bytes = successor.log_bytes
        kill(successor)
        reader = TestBroker(bucket, "d")
        cold = await reader.elect(skip_wait=True)
        assert warm_bytes == cold.log_bytes - 144, "its own fence is one more"
        assert reader.state.chunks == [b"1", b"2", b"3"]

    run(scenario())


def test_a_new_leader_that_followed_writes_checkpoints() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        standby = Standby(bucket, "b")
        await commit(term, "1", "2")
        await checkpoint(term, "1", "2")
        await commit(term, "3")
        await pass_ms(LONG_MS)
        successor = await taken_over(standby, term)
        await commit(successor, "4")
        assert successor.log_bytes == 144 + 2 * (144 + 1)
        await checkpoint(successor, *standby.texts(), "4")
        assert successor.log_bytes == 0
        assert bucket.keys_after("log/", "", 99) == [segment_key(0, 1), segment_key(1, 5)], "fences alone are left"
        kill(successor)
        reader = TestBroker(bucket, "d")
        await reader.elect(skip_wait=True)
        assert reader.state.chunks == [b"1", b"2", b"3", b"4"]

    run(scenario())


def test_one_that_was_left_behind_begins_with_the_newer_checkpoint() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        standby = Standby(bucket, "b")
        await commit(term, "1")
        await pass_ms(LONG_MS)
        standby.store.hold(lambda operation, key: key.startswith("log/"))
        await commit(term, "2", "3")
        await checkpoint(term, "1", "2", "3")
        await commit(term, "4")
        await standby.store.reached.wait()
        await pass_ms(1_000)
        standby.store.let_go()
        await pass_ms(LONG_MS)
        assert standby.state.begun >= 2
        assert standby.texts() == ["1", "2", "3", "4"]
        assert standby.elector.followed == 5
        successor = await taken_over(standby, term)
        assert successor.recovered.followed == 5

    run(scenario())


def test_a_takeover_does_not_trust_what_ends_before_the_checkpoint() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        standby = Standby(bucket, "b")
        await commit(term, "1")
        await pass_ms(LONG_MS)
        standby.store.hold(lambda operation, key: True)
        await standby.store.reached.wait()
        await commit(term, "2", "3")
        await checkpoint(term, "1", "2", "3")
        await commit(term, "4")
        await term.hand_over()
        assert standby.elector.followed == 2
        standby.store.let_go()
        successor = await standby.election
        assert successor.recovered.followed == 0
        assert standby.state.chunks == [b"1", b"2", b"3"]
        assert standby.texts() == ["1", "2", "3", "4"]

    run(scenario())


def test_late_fences_in_holes_do_not_lead_a_takeover_astray() -> None:
    """Two candidates slept before their fences, in what became holes. A standby that had come as far as they follows
    them, by an unbroken chain of hashes, to the very sequence of the checkpoint. It must not serve what it has."""

    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        standby = Standby(bucket, "s")
        await pass_ms(LONG_MS)
        standby.store.hold(lambda operation, key: True)
        await pass_ms(LONG_MS)
        assert standby.store.asked[-1] == ("read", segment_key(1, 2)), "that is what it will read next"
        kill(term)
        sleepers = [TestBroker(bucket, name) for name in ("b", "c")]
        elections = []
        for sleeper in sleepers:
            sleeper.store.hold(lambda operation, key: operation == "put")
            elections.append(asyncio.ensure_future(sleeper.elect(skip_wait=True)))
            await sleeper.store.reached.wait()  # about to put its fence at (1, 2)
        await commit(term, "x")  # at (1, 2)
        winner = await lead(bucket, "d")  # fences at (1, 3)
        await winner.publish_checkpoint(3, [b"x"], 0)
        await pass_ms(200)
        assert entry_at(bucket, 1, 2) is None, "cleaned up: a hole"
        for sleeper, election in zip(sleepers, elections, strict=True):
            sleeper.store.let_go()
            await pass_ms(100)
            election.cancel()
        assert isinstance(entry_at(bucket, 1, 2), Fence)
        assert isinstance(entry_at(bucket, 2, 3), Fence)
        standby.store.let_go()
        await pass_ms(100)
        assert standby.elector.followed == 3
        await winner.hand_over()
        successor = await standby.election
        assert successor.recovered.followed == 0
        assert standby.texts() == ["x"]
        assert await commit(successor, "y") == 5

    run(scenario())


def test_a_candidacy_lost_at_the_root_costs_nothing_that_was_followed() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        standby = Standby(bucket, "b")
        await commit(term, *numbered(1, 50))
        await pass_ms(LONG_MS)
        kill(term)
        standby.store.hold(lambda operation, key: operation == "swap")
        await standby.store.reached.wait()
        winner = await lead(bucket, "c")
        standby.store.let_go()
        await commit(winner, "51")
        await pass_ms(LONG_MS)
        assert standby.elector.counters.candidacies_lost == 1
        assert standby.state.begun == 1
        assert standby.elector.followed == 53
        successor = await taken_over(standby, winner)
        assert successor.recovered.followed == 53
        assert standby.texts() == [*numbered(1, 50), "51"]

    run(scenario())


def test_a_candidacy_lost_later_begins_anew() -> None:
    """What it read as a candidate is in the state, and no record of the way says so."""

    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        standby = Standby(bucket, "b")
        await commit(term, "1", "2")
        await pass_ms(LONG_MS)
        kill(term)
        standby.store.hold(
            lambda operation, key: operation == "put" or (key.startswith("log/") and root_of(bucket).epoch == 1)
        )
        await commit(term, "3")
        while standby.store.asked[-1][0] != "put":
            await pass_ms(10)
        assert standby.texts() == ["1", "2", "3"], "it has replayed, and is about to fence"
        winner = await lead(bucket, "c")
        await commit(winner, "4")
        standby.store.let_go()
        await pass_ms(5_000 + LONG_MS)
        assert standby.elector.counters.candidacies_lost == 1
        assert standby.texts() == ["1", "2", "3", "4"]
        successor = await taken_over(standby, winner)
        assert successor.recovered.followed == 6
        assert standby.texts() == ["1", "2", "3", "4"]

    run(scenario())


def test_one_that_is_still_loading_takes_over_from_the_checkpoint() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        await commit(term, "1")
        await term.publish_checkpoint(2, [LARGE], 0)
        await commit(term, "2")
        standby = Standby(bucket, "b")
        standby.store.hold(lambda operation, key: key.startswith("checkpoints/") and root_of(bucket).epoch == 1)
        successor = await taken_over(standby, term)
        assert successor.recovered.followed == 0
        assert [records for _, records in standby.state.applied] == [b"2"]

    run(scenario())


def test_a_damaged_object_is_told_once_and_a_takeover_refuses_it(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        standby = Standby(bucket, "b")
        await commit(term, "1", "2")
        await pass_ms(LONG_MS)
        await commit(term, "3")
        bucket.overwrite(segment_key(1, 4), b"rubbish")
        with caplog.at_level(logging.WARNING):
            await pass_ms(60_000)
        assert [record.message for record in caplog.records] == [
            "this standby cannot follow the log, and a takeover would have to read the same: "
            "log/0000000001/0000000000000004: it is truncated: 7 bytes, a header alone has 144"
        ]
        assert standby.elector.followed == 0
        assert standby.elector.counters.standby_failures == 2
        with pytest.raises(CorruptObject) as caught:
            await taken_over(standby, term)
        assert caught.value.key == segment_key(1, 4)

    run(scenario())


def test_a_checkpoint_that_goes_while_it_is_read_is_no_failure_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        await commit(term, "1")
        await term.publish_checkpoint(2, [LARGE], 0)
        standby = Standby(bucket, "b")
        standby.store.hold(lambda operation, key: key.startswith("checkpoints/"))
        await standby.store.reached.wait()
        await commit(term, "2")
        await term.publish_checkpoint(3, [LARGE, b"2"], 0)
        await pass_ms(1_000)
        standby.store.let_go()
        with caplog.at_level(logging.WARNING):
            await pass_ms(60_000)
        assert not caplog.records
        assert standby.elector.counters.standby_failures == 1
        assert standby.state.chunks[-1] == b"2"
        assert standby.elector.followed == 3

    run(scenario())


def test_large_checkpoints_that_follow_one_another_are_not_all_loaded() -> None:
    """A standby that is always left behind spends most of its time on something else than loading."""

    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        standby = Standby(bucket, "b")
        await commit(term, "1")
        for number in range(100):
            await commit(term, f"n{number}")
            await term.publish_checkpoint(term.appender.released.sequence, [LARGE] * 4, 0)
            await pass_ms(200)
        assert standby.elector.counters.standby_loads < 30
        await pass_ms(LONG_MS)
        assert standby.elector.followed == term.appender.released.sequence

    run(scenario())


def test_a_bucket_that_was_set_back_is_read_from_its_checkpoint() -> None:
    """Nobody may do that under running brokers. It must not make two histories one all the same."""

    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        before = {key: bucket.get(key) for key in bucket.keys_after("", "", 99)}
        standby = Standby(bucket, "b")
        await commit(term, "1", "2")
        await pass_ms(LONG_MS)
        kill(term)
        for key in bucket.keys_after("", "", 99):
            bucket.remove(key)
        for key, stored in before.items():
            assert stored is not None
            bucket.overwrite(key, stored.body)
        other = await lead(bucket, "c")
        await commit(other, "another 1")
        successor = await taken_over(standby, other)
        assert successor.recovered.followed == 0
        assert standby.texts() == ["another 1"]

    run(scenario())


def test_a_bug_in_following_is_not_swallowed() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        await commit(term, "1")
        standby = Standby(bucket, "b")

        def stumble(sequence: int, records: bytes, format: int) -> None:
            raise ZeroDivisionError("a bug")

        standby.state.apply = stumble  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError):
            await standby.election

    run(scenario())


def test_giving_an_election_up_ends_the_following() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        await lead(bucket, "a")
        standby = Standby(bucket, "b")
        await pass_ms(1_000)
        standby.election.cancel()
        await pass_ms(1)
        standby.store.asked.clear()
        await pass_ms(60_000)
        assert standby.store.asked == []
        assert standby.elector.followed == 0

    run(scenario())


def test_the_more_comes_the_sooner_it_looks_again() -> None:
    """A busy log is followed closely, so that little is left to read when its leader leaves."""

    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        standby = Standby(bucket, "b")
        for number in range(500):
            await commit(term, f"n{number}")
            await pass_ms(10)
            behind = term.appender.released.sequence - standby.elector.followed
            assert number < 150 or behind <= 2 * following.PROBE_COMMITS
        standby.store.asked.clear()
        await commit(term, *numbered(500, 999))
        await pass_ms(100)
        beyond = standby.log_reads() - 500
        assert beyond <= 500 / following.PROBE_COMMITS * following.WINDOW.most / 2

    run(scenario())


def test_a_standby_that_is_waited_for_looks_at_once_and_often() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        standby = Standby(bucket, "b")
        await pass_ms(30_000)
        await commit(term, "1")
        assert standby.elector.followed == 1
        standby.elector.hasten(2, 2_000)
        await pass_ms(20)
        assert standby.elector.followed == 2
        for text in ("2", "3", "4"):
            await commit(term, text)
            await pass_ms(following.CLOSE_PROBE_MS + 10)
            assert standby.elector.followed == term.appender.released.sequence
        await pass_ms(30_000)
        standby.store.asked.clear()
        await pass_ms(60_000)
        assert standby.log_reads() <= 13, "it goes back to looking rarely"

    run(scenario())


def test_a_standby_that_hears_of_many_commits_does_not_wait_for_its_next_look() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        standby = Standby(bucket, "b")
        await pass_ms(30_100)
        await commit(term, *numbered(1, 3))
        standby.elector.heard(term.appender.released.sequence)
        await pass_ms(50)
        assert standby.elector.followed == 1, "a look costs more than it finds"
        await commit(term, *numbered(4, following.PROBE_COMMITS))
        standby.elector.heard(term.appender.released.sequence)
        await pass_ms(100)
        assert standby.elector.followed == 1 + following.PROBE_COMMITS

    run(scenario())


def test_whoever_hears_that_the_leader_has_left_takes_over_without_waiting_to_look() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        standby = Standby(bucket, "b")
        await pass_ms(10_250)
        assert not standby.election.done()
        await term.hand_over()
        standby.elector.look()
        began_ms = now_ms()
        await standby.election
        assert now_ms() - began_ms < 100

    run(scenario())


def test_one_that_is_behind_leaves_the_queue_to_one_that_is_not() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        near, far = Standby(bucket, "b"), Standby(bucket, "c")
        await pass_ms(2_000)
        far.store.hold(lambda operation, key: key.startswith("log/"))
        await commit(term, *numbered(1, 2 * following.NEAR_COMMITS))
        await pass_ms(LONG_MS)
        near.store.hold(lambda operation, key: operation == "read" and key == ROOT)
        await near.store.reached.wait()  # it looks a little later than the other
        far.elector.hasten(term.appender.released.sequence, 1_000)
        await term.hand_over()
        far.elector.look()
        await pass_ms(100)
        near.store.let_go()
        far.store.let_go()
        successor = await near.election
        assert successor.epoch == 2
        await pass_ms(10_000)
        assert not far.election.done()

    run(scenario())


@pytest.mark.parametrize("chosen", [False, True])
def test_one_that_is_behind_takes_over_when_no_other_does(chosen: bool) -> None:
    """After a second; at once if the leader says that it is the one."""

    async def scenario() -> None:
        bucket = MemoryBucket()
        term = await lead(bucket, "a")
        standby = Standby(bucket, "b")
        await pass_ms(2_000)
        standby.store.hold(lambda operation, key: key.startswith("log/"))
        await commit(term, *numbered(1, 2 * following.NEAR_COMMITS))
        await pass_ms(LONG_MS)
        standby.elector.hasten(term.appender.released.sequence, 1_000)
        await term.hand_over()
        began_ms = now_ms()
        standby.elector.look(yours=chosen)
        swapped = asyncio.Event()
        standby.store.hold(lambda operation, key: operation == "swap")
        standby.store.go = swapped
        await standby.store.reached.wait()
        took_ms = now_ms() - began_ms
        assert took_ms < 50 if chosen else watch.DEFER_MS <= took_ms <= watch.DEFER_MS + 2 * watch.DEFER_POLL_MS
        standby.store.let_go()
        assert (await standby.election).epoch == 2

    run(scenario())


def test_a_loaded_checkpoint_is_told() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        await lead(bucket, "a")
        told = 0

        def loaded() -> None:
            nonlocal told
            told += 1

        standby = TestBroker(bucket, "b", follow=True, on_loaded=loaded)
        election = asyncio.ensure_future(standby.elect())
        await pass_ms(60_000)
        assert told == 1
        election.cancel()

    run(scenario())
