"""Which job is claimed next."""

import random

import pytest

from osqueue_service.state.model import Job, JobSpec
from osqueue_service.state.ready import ReadyOrder


def job(place: int, type: str = "", priority: int = 0) -> Job:
    return Job(JobSpec(type, b"", priority), place, 0, place)


def waiting(*jobs: Job) -> ReadyOrder:
    ready = ReadyOrder()
    for one in jobs:
        ready.add(one)
    return ready


def places(ready: ReadyOrder, types=()) -> list[int]:
    return [one.place for one in ready.in_order(types)]


def test_first_in_first_out():
    assert places(waiting(job(1), job(2), job(3))) == [1, 2, 3]


def test_higher_priority_goes_first_and_fifo_holds_within_one():
    ready = waiting(job(1), job(2, priority=5), job(3, priority=-1), job(4, priority=5), job(5))
    assert places(ready) == [2, 4, 1, 5, 3]


def test_types_are_merged_by_priority_and_place():
    ready = waiting(job(1, "a"), job(2, "b"), job(3, "a", 1), job(4, "c"), job(5, "b", 1))
    assert places(ready) == [3, 5, 1, 2, 4]
    assert places(ready, ["a"]) == [3, 1]
    assert places(ready, ["c", "b"]) == [5, 2, 4]
    assert places(ready, ["b", "b"]) == [5, 2]
    assert places(ready, ["absent"]) == []


def test_a_job_that_comes_back_takes_its_old_place():
    back = job(1)
    ready = waiting(back, job(2), job(3))
    ready.remove(back)
    assert places(ready) == [2, 3]
    ready.add(back)
    assert places(ready) == [1, 2, 3]


def test_paused_types_are_left_out_until_resumed():
    ready = waiting(job(1, "a"), job(2, "b"))
    ready.pause("a")
    assert places(ready) == [2]
    assert places(ready, ["a"]) == []
    assert not ready.has(["a"]) and ready.has(["a", "b"]) and ready.has()
    ready.resume("a")
    assert places(ready) == [1, 2]


def test_a_paused_type_still_takes_and_gives_jobs():
    first, second = job(1, "a"), job(2, "a", priority=3)
    ready = waiting(first)
    ready.pause("a")
    ready.add(second)
    ready.remove(first)
    assert not ready.has()
    assert ready.total == 1 and ready.count("a") == 1
    ready.resume("a")
    assert places(ready) == [2]


def test_a_type_may_be_paused_before_its_first_job():
    ready = ReadyOrder()
    ready.pause("later")
    ready.add(job(1, "later"))
    assert not ready.has()
    assert [one.place for one in ready.of_type("later")] == [1]


def test_a_type_without_jobs_is_forgotten():
    only = job(1, "a")
    ready = waiting(only)
    ready.remove(only)
    assert list(ready.types()) == [] and ready.type_count == 0 and ready.total == 0
    assert list(ready.heads_of("a")) == []


@pytest.mark.parametrize("seed", range(20))
def test_it_agrees_with_sorting(seed):
    draw = random.Random(seed)
    ready, model, paused = ReadyOrder(), [], set()
    place = 0
    for _ in range(400):
        roll = draw.random()
        if roll < 0.5 or not model:
            place += 1
            one = job(place, draw.choice("abcd"), draw.choice([-1, 0, 0, 2]))
            ready.add(one)
            model.append(one)
        elif roll < 0.9:
            one = model.pop(draw.randrange(len(model)))
            ready.remove(one)
            if draw.random() < 0.3:
                ready.add(one)
                model.append(one)
        else:
            name = draw.choice("abcd")
            (ready.resume if name in paused else ready.pause)(name)
            paused ^= {name}
        types = draw.choice([(), ("a",), ("b", "d"), ("a", "b", "c")])
        wanted = [one for one in model if one.spec.type not in paused and (not types or one.spec.type in types)]
        assert places(ready, types) == [
            one.place for one in sorted(wanted, key=lambda one: (-one.spec.priority, one.place))
        ]
        assert ready.has(types) == bool(wanted)
        assert ready.total == len(model)
