"""docs/data-format.md is enough to read records and images, and its tables are those of the code."""

from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
import pytest

from osqueue_service.engine.codec import Commit
from osqueue_service.state import (
    audit,
    batch_records,
    batches,
    fairness,
    graphs,
    image,
    model,
    named_limits,
    needs,
    records,
    schedules,
)
from osqueue_service.state.adoption import adopt
from osqueue_service.state.commands import Claim, Complete, CompleteItem, Submit
from osqueue_service.state.image import Head, JobImage
from osqueue_service.state.model import JobSpec, RetryPolicy
from osqueue_service.state.records import AnyRecord
from osqueue_service.state.state import State
from osqueue_service.state.unique import AfterDead, IfRunning, OnConflict, Scope, Until
from osqueue_service.state.uniques import KeptKey
from osqueue_service.storage.memory import MemoryBucket
from osqueue_service.timetable.timetable import Gap, Repeat
from tests.unit.leadership.brokers import pass_ms
from tests.unit.life import Life
from tests.unit.log.by_the_documentation import read_queue
from tests.unit.log.test_documentation import everything
from tests.unit.log.virtual import run
from tests.unit.state.by_the_documentation import Queue, structures
from tests.unit.state.test_image import populated

NAMES: dict[Any, str] = {
    int: "int", float: "float", bool: "bool", str: "str", bytes: "bin", model.Status: "status", model.Ending: "ending",
    AnyRecord: "record", named_limits.AtLimit: "int",
    Scope: "int", Until: "int", OnConflict: "int", IfRunning: "int", AfterDead: "int",
}  # fmt: skip
NAMES |= dict.fromkeys((Gap, Repeat, schedules.Overlap, schedules.Missed, schedules.Outcome, needs.Policy), "int")
NAMES |= dict.fromkeys((batches.Callback, batches.BatchStep), "int")


def written(kind: Any) -> str:
    """A type as the page writes it."""
    if kind in NAMES:
        return NAMES[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind.__name__
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType) and NoneType in arguments:
        (inner,) = [each for each in arguments if each is not NoneType]
        return f"{written(inner)} or nil"
    if origin is dict:
        return "{str: str}"
    assert origin in (list, tuple), kind
    return f"[{written(arguments[0])}]"


def stored() -> list[type[msgspec.Struct]]:
    """Every structure that is stored."""
    of_images = (Commit, Head, JobImage, KeptKey)
    found: dict[str, type[msgspec.Struct]] = {each.__name__: each for each in of_images}
    for module in (records, model, named_limits, schedules, audit, graphs, needs, fairness, batches, batch_records):
        for name, each in vars(module).items():
            if (
                isinstance(each, type)
                and issubclass(each, msgspec.Struct)
                and each.__struct_config__.forbid_unknown_fields
            ):
                found[name] = each
    del found["Record"]
    return list(found.values())


@pytest.mark.parametrize("struct", stored(), ids=lambda struct: struct.__name__)
def test_each_table_is_the_structure_of_the_code(struct: type[msgspec.Struct]) -> None:
    table = structures()[struct.__name__]
    assert table.tag == struct.__struct_config__.tag
    fields = msgspec.structs.fields(struct)
    assert table.fields == [(each.name, written(each.type)) for each in fields]
    defaults = {each.name: each.default for each in fields if each.default is not msgspec.NODEFAULT}
    assert {name: () if value == [] else value for name, value in table.defaults.items()} == defaults


def test_nothing_else_is_described() -> None:
    assert set(structures()) == {struct.__name__ for struct in stored()}


@pytest.mark.parametrize("seed", range(8))
def test_a_replay_by_the_page_comes_to_the_same_state(seed: int) -> None:
    core = populated(seed, 80)
    core.advance(3_600_000)
    core.sweep()
    core.submit("again")
    core.advance(24 * 3_600_000)
    core.sweep()
    replayed, loaded = Queue(), Queue()
    for body in core.log:
        replayed.apply(body)
    for chunk in image.encode(core.state):
        loaded.load(chunk)
    assert replayed.contents() == loaded.contents()
    assert all(core.state.find(loaded.public_id(job)) for job in loaded.jobs.values())


def test_replays_meet_every_record_and_every_chunk() -> None:
    met: set[str] = set()
    kinds: set[int] = set()
    queue = Queue()
    for seed in range(8):
        core = populated(seed, 80)
        for later_ms in (0, 5_000, 3_600_000):
            core.advance(later_ms)
            core.sweep()
            kinds |= {queue.format.chunk(chunk)[0] for chunk in image.encode(core.state)}
        met |= {record["record"] for body in core.log for record in queue.format.commit(body)["records"]}
    # What an adopted queue begins with, and what is logged only once there are principals.
    assert met | {"IdsRenewed", "SteppedDown"} == {record.__name__ for record in get_args(AnyRecord)}
    assert kinds == {0, 1, 2, 3, 4, 5, 17, 18, 25, 30, 36, 40, 50, 60}


def test_an_earlier_queue_is_adopted_by_the_page() -> None:
    jobs = [
        b'{"id":"a", "status":"unclaimed","payload": {"big":12345678901234567890123} , "createdAt":5,"attempts":2}',
        b'{"id":"b","status":"in_progress","type":"t","workerId":"w","createdAt":7,"maxAttempts":4}',
        b'{"id":"c","status":"in_progress","attempts":3}',
    ]
    adopted, loaded, state = Queue(), Queue(), State()
    adopt(state, jobs, 9)
    for chunk in image.encode(state):
        loaded.load(chunk)
    adopted.adopt(jobs, 9)
    assert adopted.contents() == loaded.contents()


def test_a_queue_is_read_from_its_bucket_by_the_page_alone() -> None:
    async def scenario() -> None:
        bucket = MemoryBucket()
        life = await Life(bucket, "a").lead()
        engine = life.broker.engine
        retry = RetryPolicy(1_000)
        for number in range(30):
            spec = JobSpec("t", b'{"n": %d}' % number, retry=retry, metadata={"k": "v"}, idempotency_key=f"k{number}")
            await engine.execute(Submit([spec], request_id=f"r{number}"))
        granted = await engine.claim(Claim("w", max_jobs=10, claim_key="c"))
        done = [CompleteItem(each.job_id, "w", each.token, b"result") for each in granted[:5]]
        await engine.execute(Complete(done))
        await pass_ms(100)
        queue = read(bucket)
        assert [job["status"] for job in queue.jobs.values()] == [3] * 5 + [2] * 5 + [0] * 20
        await life.broker.stop()
        await Life(bucket, "b").lead()
        assert read(bucket).contents() == queue.contents()

    run(scenario())


def read(bucket: MemoryBucket) -> Queue:
    queue = Queue()
    chunks, segments = read_queue(everything(bucket))
    for chunk in chunks:
        queue.load(chunk)
    for body in segments:
        queue.apply(body)
    return queue
