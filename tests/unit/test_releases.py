"""Two releases on one bucket: what each meets of the other, and the sentence that the operator reads."""

import base64
import json
import logging
import re
from pathlib import Path

import msgspec
import pytest

from osqueue_service.broker import Role
from osqueue_service.engine.codec import encode_commit
from osqueue_service.errors import FeatureUnavailable, WrittenByNewer
from osqueue_service.log.paths import ROOT
from osqueue_service.log.segment import Segment
from osqueue_service.release import RELEASE
from osqueue_service.state.commands import PauseTypes, ResumeTypes
from osqueue_service.state.features import FEATURES, PRINCIPAL, UNDERSTOOD, missing, of_command, of_record
from osqueue_service.state.job_ids import JobIds
from osqueue_service.state.model import Status
from osqueue_service.state.records import By, Paused, SteppedDown
from osqueue_service.storage.memory import MemoryBucket
from tests.unit.leadership.brokers import pass_ms, root_of
from tests.unit.life import Life
from tests.unit.log.test_root import changed
from tests.unit.log.virtual import run

ANN = By("ann", "10.0.0.7")
NONE: frozenset[str] = frozenset()
FIRST_FORMAT = Path(__file__).parent / "frozen" / "bucket-1.json"


async def left_by_a_later_release(**fields: object) -> tuple[MemoryBucket, bytes]:
    """A queue that a broker led and left; in its root stand these fields, as a later release would write them. And the
    root as it was."""
    bucket = MemoryBucket()
    life = await Life(bucket, "a").lead()
    await life.submit()
    await life.broker.stop()
    good = root_of(bucket)
    bucket.overwrite(ROOT, changed(good, release="0.9.0", **fields))
    return bucket, good.encode()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"format": 3, "needs": ["colours"]},
            r"queue\.json: it was written by osqueue 0\.9\.0 and has format 3 and uses 'colours', which osqueue \S+ "
            r"does not know: start osqueue 0\.9\.0 again; nothing is damaged, and nothing was changed",
        ),
        (
            {"needs": ["colours", "sizes"]},
            r"queue\.json: it was written by osqueue 0\.9\.0 and uses 'colours' and 'sizes', which osqueue "
            r"\S+ does not know: start osqueue 0\.9\.0 again; nothing is damaged, and nothing was changed",
        ),
    ],
    ids=["a later format", "an unknown feature"],
)
def test_a_store_written_by_a_newer_release_is_left_alone(
    fields: dict[str, object], sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        bucket, good = await left_by_a_later_release(**fields)
        before = bucket.get(ROOT)
        life = Life(bucket, "b")
        with caplog.at_level(logging.CRITICAL):
            await life.broker.start()
            await pass_ms(30_000)
        assert life.roles[-1] is Role.OUTDATED, "it neither leads nor follows, and its health says so"
        assert life.broker.followed == 0
        assert bucket.get(ROOT) == before
        critical = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
        assert [bool(re.search(sentence, said)) for said in critical] == [True], "it says so once"
        bucket.overwrite(ROOT, good)
        await life.broker.leading()
        assert life.roles[-1] is Role.LEADER, "it goes on when it understands the root again"

    run(scenario())


def test_whoever_does_not_stand_by_is_told() -> None:
    async def scenario() -> None:
        bucket, _ = await left_by_a_later_release(needs=["colours"])
        with pytest.raises(WrittenByNewer, match=r"start osqueue 0\.9\.0 again"):
            await Life(bucket, "b").broker.start(stand_by=False)
        alone = Life(bucket, "c", sole_owner=True)
        await alone.broker.start()
        assert isinstance(await alone.broker.failed, WrittenByNewer), (
            "nobody else could lead: there is nothing to wait for"
        )

    run(scenario())


def test_a_record_that_a_newer_release_did_not_announce_is_left_alone_too() -> None:
    """A bug of that release. The candidate clears the root again, so that whoever wrote the record takes over."""

    async def scenario() -> None:
        bucket = MemoryBucket()
        life = await Life(bucket, "a").lead()
        await life.submit()
        position = life.broker._term.appender.released  # type: ignore[union-attr]
        life.freeze()
        body = msgspec.msgpack.encode([1, [[99, "later"]]])
        later = Segment(position.lane, position.sequence + 1, root_of(bucket).incarnation, position.hash, 0, 1, body)
        bucket.overwrite(later.key, later.encode().body)
        other = Life(bucket, "b", follow=False)
        await other.broker.start()
        await pass_ms(60_000)
        assert other.roles[-1] is Role.OUTDATED
        assert (root_of(bucket).broker, root_of(bucket).epoch) == (None, 2), "it tried once, and gave the queue back"
        assert later.key in str(other.broker.barred)

    run(scenario())


def test_a_feature_is_switched_on_by_its_first_use() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        life = await Life(bucket, "a").lead()
        await life.broker.engine.execute(PauseTypes(["t"]))
        assert root_of(bucket).needs == (), "what is not used costs nothing"
        await life.broker.engine.execute(PauseTypes(["u"], ANN))
        assert root_of(bucket).needs == (PRINCIPAL,)
        await life.broker.engine.execute(ResumeTypes(["t", "u"], ANN))
        await life.broker.stop()
        again = await Life(bucket, "b").lead()
        assert root_of(bucket).needs == (PRINCIPAL,)
        await again.broker.stop()

    run(scenario())


def test_an_earlier_release_comes_back_to_a_queue_that_never_used_the_new() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        new = await Life(bucket, "a").lead()
        job_id = await new.submit()
        await new.broker.stop()
        old = await Life(bucket, "b", understood=NONE).lead()
        assert old.knows(job_id)

    run(scenario())


@pytest.mark.parametrize(("release", "told"), [("0.1.0", "osqueue 0.1.0"), ("", "an earlier osqueue")])
def test_two_brokers_of_different_release_attending(release: str, told: str) -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        life = await Life(bucket, "a").lead()
        old = life.broker.standbys.enter("old:8081", 0, release, NONE)
        with pytest.raises(
            FeatureUnavailable,
            match=f"the queue cannot use 'principal' yet: the broker at old:8081, which could take over, is {told} "
            "and does not know it: upgrade or stop that broker, and call again",
        ):
            await life.broker.engine.execute(PauseTypes(["t"], ANN))
        assert root_of(bucket).needs == ()
        await life.broker.engine.execute(PauseTypes(["t"]))  # what it knows goes on
        life.broker.standbys.leave(old)
        life.broker.standbys.enter("new:8081", 0, "0.2.0", UNDERSTOOD)
        await life.broker.engine.execute(PauseTypes(["u"], ANN))
        assert root_of(bucket).needs == (PRINCIPAL,)

    run(scenario())


def test_a_feature_half_switched_on_is_harmless() -> None:
    """The leader dies between the swap of the root and the first use."""

    async def scenario() -> None:
        bucket = MemoryBucket()
        first = await Life(bucket, "a").lead()
        job_id = await first.submit()
        await first.broker._term.switch_on(frozenset({PRINCIPAL}))  # type: ignore[union-attr]
        first.freeze()
        old = Life(bucket, "old", understood=NONE)
        await old.broker.start()
        second = await Life(bucket, "b").lead()
        assert second.knows(job_id) and root_of(bucket).needs == (PRINCIPAL,)
        await second.broker.engine.execute(PauseTypes(["t"], ANN))
        assert old.roles[-1] is Role.OUTDATED

    run(scenario())


def test_a_feature_that_is_not_switched_on_is_never_written() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        life = await Life(bucket, "a").lead()
        keys = bucket.keys_after("log/", "", 100)
        engine = life.broker.engine
        engine.term.switch_on = lambda features: pass_ms(0)  # type: ignore[method-assign]
        with pytest.raises(Exception, match="failed"):
            await engine.execute(PauseTypes(["t"], ANN))
        assert bucket.keys_after("log/", "", 100) == keys

    run(scenario())


def test_a_successor_must_understand_what_the_queue_uses() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        life = await Life(bucket, "a").lead()
        standbys = life.broker.standbys
        standbys.enter("old:8081", 1_000, "0.1.0", NONE)
        new = standbys.enter("new:8081", 900, "0.2.0", UNDERSTOOD)
        assert await standbys.successor(lambda: 900, 100, UNDERSTOOD) is new
        standbys.leave(new)
        assert await standbys.successor(lambda: 900, 100, UNDERSTOOD) is None

    run(scenario())


def test_what_uses_a_feature_is_known_of_commands_and_of_records() -> None:
    assert of_command(PauseTypes(["t"], ANN)) == {PRINCIPAL} and of_command(PauseTypes(["t"])) == NONE
    assert of_record(Paused(["t"], ANN)) == of_record(SteppedDown()) == {PRINCIPAL}
    assert missing([Paused(["t"]), Paused(["t"], ANN)], ()) == [PRINCIPAL]
    assert missing([Paused(["t"], ANN)], (PRINCIPAL,)) == []
    assert set(FEATURES) == UNDERSTOOD
    assert encode_commit(1, [Paused(["t"])]) and JobIds().since == 0


def left_by_the_first_format() -> MemoryBucket:
    """What the last commit of the first format left (scripts/make_first_format_bucket.py)."""
    bucket = MemoryBucket()
    for key, body in json.loads(FIRST_FORMAT.read_text()).items():
        bucket.overwrite(key, base64.b64decode(body))
    return bucket


def test_a_store_of_an_older_format_is_read_once_and_rewritten() -> None:
    """An older store, whose root is without the new fields."""

    async def scenario() -> None:
        bucket = left_by_the_first_format()
        life = await Life(bucket, "b").lead()
        state = life.broker.engine._state
        assert (
            state.live,
            state.count(Status.COMPLETED),
            sum(job.cancel_requested for job in state.jobs.values()),
        ) == (18, 4, 2)
        assert state.lines.gates.paused == {"thumb"} and len(state.keys) == 22
        old = [state.job_id(job) for job in state.jobs.values()]
        given_out = [f"{state.salt}{number:010x}" for number in state.jobs]
        assert old == given_out, "ids that were given out stay what they were"
        new = await life.submit()
        assert new == JobIds(state.salt, 1).of(state.jobs[max(state.jobs)].number)
        await pass_ms(5_000)
        root = root_of(bucket)
        assert (root.format, root.release, root.checkpoint.format) == (2, RELEASE, 2)
        assert not [key for key in bucket.keys_after("log/0000000001/", "", 100) if key.startswith("log/0000000001/")][
            1:
        ]
        life.freeze()
        again = await Life(bucket, "c").lead()
        assert all(again.knows(job_id) for job_id in [*old, new])
        assert again.broker.engine.views.totals.live == 19

    run(scenario())


def test_a_broker_that_dies_in_the_middle_of_it_leaves_a_queue_that_the_next_one_reads() -> None:
    """The root is of the new format by then, and the checkpoint and most of the log are not."""

    async def scenario() -> None:
        bucket = left_by_the_first_format()
        life = Life(bucket, "b")
        life.store.hold(lambda operation, key: operation == "put" and key.startswith("log/"))
        await life.broker.start()
        await life.store.reached.wait()
        assert (root_of(bucket).format, root_of(bucket).checkpoint.format) == (2, 1)
        life.freeze()
        again = await Life(bucket, "c").lead()
        assert again.broker.engine.views.totals.live == 18
        await pass_ms(5_000)
        assert root_of(bucket).checkpoint.format == 2

    run(scenario())
