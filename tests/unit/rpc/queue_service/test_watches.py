"""Where a watch begins, on virtual time. What it tells: tests/integration."""

from types import SimpleNamespace
from typing import Any

import pytest

from osqueue_service.errors import NotLeader
from osqueue_service.rpc.fields import TypeNames
from osqueue_service.rpc.queue_service.watches import Watches
from osqueue_stubs.osqueue.v1 import queue_pb2
from tests.unit.engine.bench import Bench, on_bench


def watch(bench: Bench, **fields: Any) -> Any:
    broker = SimpleNamespace(engine=bench.engine, limits=bench.limits)
    return Watches(broker, TypeNames(128), bench.clock).WatchJobs(queue_pb2.WatchJobsRequest(**fields), None)


@pytest.mark.parametrize("watched_before", [False, True])
def test_a_watch_tells_all_behind_the_position_it_begins_with(watched_before: bool):
    """Found by simulation: it began behind commits that were still under way, and never told of those."""

    async def test(bench: Bench) -> None:
        other = watch(bench)
        if watched_before:
            await anext(other)
        bench.lane.held = True
        bench.later(bench.submit())
        await bench.pass_ms(10)
        under_way = bench.lane.next_sequence - 1
        assert bench.engine.sequence < under_way
        watching = watch(bench)
        first = bench.later(anext(watching))
        await bench.pass_ms(10)
        assert not first.done(), "the position it begins with is not durable yet"
        bench.lane.held = False
        bench.lane.land_all()
        await bench.pass_ms(10)
        assert first.result().position.sequence == under_way
        (job_id,) = await bench.submit()
        message = await anext(watching)
        assert [event.job_id for event in message.events] == [job_id]
        await watching.aclose()
        await other.aclose()

    on_bench(test)


def test_a_watch_that_ends_with_its_leader_claims_no_more_than_it_told():
    """Found by simulation: commits that became durable while the leader left were in the position, and not told."""

    async def test(bench: Bench) -> None:
        watching = watch(bench)
        await anext(watching)
        (told,) = await bench.submit()
        position = bench.engine.sequence
        bench.lane.held = True
        bench.later(bench.submit())
        await bench.pass_ms(10)
        bench.later(bench.engine.stop())
        await bench.pass_ms(10)
        bench.lane.held = False
        bench.lane.land_all()
        await bench.pass_ms(10)
        assert bench.engine.sequence == position + 1
        message = await anext(watching)
        assert [event.job_id for event in message.events] == [told]
        assert message.position.sequence == position
        with pytest.raises(NotLeader):
            await anext(watching)

    on_bench(test)
