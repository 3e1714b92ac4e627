"""Which job is claimed next."""

import gc
import random
import sys
from itertools import islice

import pytest

from osqueue_service.state.gates import Gate, Reason
from osqueue_service.state.lines import AGE_SCAN_MAX, Lines
from osqueue_service.state.model import Attempt, Ending, Job, JobSpec, Status


def job(place: int, type: str = "", priority: int = 0) -> Job:
    return Job(JobSpec(type, b"", priority), place, 0, place)


def waiting(*jobs: Job) -> Lines:
    lines = Lines()
    for one in jobs:
        lines.add(one)
    return lines


def places(lines: Lines, types=()) -> list[int]:
    return [one.place for one in lines.in_order(types)]


def test_first_in_first_out():
    assert places(waiting(job(1), job(2), job(3))) == [1, 2, 3]


def test_higher_priority_goes_first_and_fifo_holds_within_one():
    lines = waiting(job(1), job(2, priority=5), job(3, priority=-1), job(4, priority=5), job(5))
    assert places(lines) == [2, 4, 1, 5, 3]


def test_types_are_merged_by_priority_and_place():
    lines = waiting(job(1, "a"), job(2, "b"), job(3, "a", 1), job(4, "c"), job(5, "b", 1))
    assert places(lines) == [3, 5, 1, 2, 4]
    assert places(lines, ["a"]) == [3, 1]
    assert places(lines, ["c", "b"]) == [5, 2, 4]
    assert places(lines, ["b", "b"]) == [5, 2]
    assert places(lines, ["absent"]) == []


def test_a_job_that_comes_back_takes_its_old_place():
    back = job(1)
    lines = waiting(back, job(2), job(3))
    lines.remove(back)
    assert places(lines) == [2, 3]
    lines.add(back)
    assert places(lines) == [1, 2, 3]


def test_paused_types_are_left_out_until_resumed():
    lines = waiting(job(1, "a"), job(2, "b"))
    lines.pause("a")
    assert places(lines) == [2]
    assert places(lines, ["a"]) == []
    assert not lines.has(["a"]) and lines.has(["a", "b"]) and lines.has()
    lines.resume("a")
    assert places(lines) == [1, 2]


def test_a_paused_type_still_takes_and_gives_jobs():
    first, second = job(1, "a"), job(2, "a", priority=3)
    lines = waiting(first)
    lines.pause("a")
    lines.add(second)
    lines.remove(first)
    assert not lines.has()
    assert lines.ready == 0 and lines.count("a") == 0
    lines.resume("a")
    assert places(lines) == [2]
    assert lines.ready == 1 and lines.count("a") == 1


def test_a_type_may_be_paused_before_its_first_job():
    lines = Lines()
    lines.pause("later")
    lines.add(job(1, "later"))
    assert not lines.has()
    assert [one.place for one in lines.of_type("later")] == [1]


def test_a_shut_line_says_which_gate_shuts_it():
    """Also that in which a job would wait, if it waited now."""
    waits, other, later = job(1, "a"), job(2, "b"), job(3, "c")
    lines = waiting(waits, other)
    lines.pause("a")
    lines.pause("c")
    assert lines.gate_of(waits) == Gate(Reason.PAUSED, "a")
    assert lines.gate_of(other) is None
    assert lines.gate_of(later) == Gate(Reason.PAUSED, "c")
    lines.resume("a")
    assert lines.gate_of(waits) is None


def test_every_priority_of_a_type_is_shut_by_its_gate_and_no_line_of_another():
    lines = waiting(*(job(place, "ab"[place % 2], place % 3) for place in range(1, 30)))
    lines.pause("a")
    assert {(line.type, line.gate is None) for line in lines} == {("a", False), ("b", True)}
    assert len(list(lines.of_type("a"))) == 14, "whoever asks for all of a type gets the shut ones, too"
    assert lines.ready == 15


def calls(lines: Lines, types=()) -> int:
    """How many calls the first ten jobs of a claim cost."""
    made = 0

    def count(frame, event, argument):
        nonlocal made
        made += event in ("call", "c_call")

    gc.disable()  # others' callbacks at a collection are not calls of a claim
    sys.setprofile(count)
    try:
        list(islice(lines.in_order(types), 10))
    finally:
        sys.setprofile(None)
        gc.enable()
    return made


@pytest.mark.parametrize("types", [(), ("a",), ("a", "b")])
def test_a_claim_costs_the_same_whatever_is_paused_and_however_many_wait(types):
    lines = waiting(*(job(place, "ab"[place % 2], priority=-(place // 41)) for place in range(1, 61)))
    alone = calls(lines, types)
    for number in range(1_000):
        lines.pause(f"paused {number}")
    for place in range(100, 3_100):
        lines.add(job(place, f"paused {place % 1_000}", priority=place % 2))
        lines.add(job(place + 10_000, "abc"[place % 3], priority=-(place % 500)))
    assert calls(lines, types) == alone


def test_types_that_become_open_are_told_once():
    lines, first, second = Lines(), job(1, "a"), job(2, "a")
    lines.add(first)
    lines.add(second)
    assert lines.take_opened() == {"a"}
    lines.remove(first)
    lines.add(first)
    assert lines.take_opened() == set(), "it was open all the time"
    lines.pause("a")
    lines.pause("b")
    lines.add(job(3, "b"))
    assert lines.take_opened() == set()
    lines.resume("a")
    lines.resume("b")
    assert lines.take_opened() == {"a", "b"}


def test_a_type_that_is_shut_or_empty_again_is_not_told():
    lines, first = Lines(), job(1, "a")
    lines.add(first)
    lines.add(job(2, "b"))
    lines.remove(first)
    lines.pause("b")
    assert lines.take_opened() == set()


def came_back(place: int, at_ms: int) -> Job:
    """A job that a worker gave back: it is at its old place, and waits since then."""
    back = job(place)
    back.claims = 1
    back.history = (Attempt(1, "w", "t", 0, at_ms, Ending.RELEASED, Status.UNCLAIMED),)
    return back


def fresh(place: int, at_ms: int) -> Job:
    return Job(JobSpec("", b""), place, at_ms, place)


def test_a_line_waits_since_its_first_job_that_never_came_back():
    (line,) = waiting(came_back(1, 900), fresh(2, 100), fresh(3, 200))
    assert line.ready_since == 100


def test_or_since_one_before_it_that_came_back_earlier():
    (line,) = waiting(came_back(1, 900), came_back(2, 50), fresh(3, 100))
    assert line.ready_since == 50


def test_so_many_that_came_back_are_looked_at_and_no_more():
    came = [came_back(place, 1_000 - place) for place in range(AGE_SCAN_MAX)]
    (line,) = waiting(*came[1:], fresh(AGE_SCAN_MAX, 100))
    assert line.ready_since == 100
    (line,) = waiting(*came, fresh(AGE_SCAN_MAX, 100))
    assert line.ready_since == 1_000 - (AGE_SCAN_MAX - 1), "that of one that waits, if not of the first"


def test_a_type_without_jobs_is_forgotten():
    only = job(1, "a")
    lines = waiting(only)
    lines.remove(only)
    assert list(lines) == list(lines.of_type("a")) == [] and lines.ready == 0


@pytest.mark.parametrize("seed", range(20))
def test_it_agrees_with_sorting(seed):
    draw = random.Random(seed)
    lines, model, paused = Lines(), [], set()
    place = 0
    for _ in range(400):
        roll = draw.random()
        if roll < 0.5 or not model:
            place += 1
            one = job(place, draw.choice("abcd"), draw.choice([-1, 0, 0, 2]))
            lines.add(one)
            model.append(one)
        elif roll < 0.9:
            one = model.pop(draw.randrange(len(model)))
            lines.remove(one)
            if draw.random() < 0.3:
                lines.add(one)
                model.append(one)
        else:
            name = draw.choice("abcd")
            (lines.resume if name in paused else lines.pause)(name)
            paused ^= {name}
        types = draw.choice([(), ("a",), ("b", "d"), ("a", "b", "c")])
        wanted = [one for one in model if one.spec.type not in paused and (not types or one.spec.type in types)]
        assert places(lines, types) == [
            one.place for one in sorted(wanted, key=lambda one: (-one.spec.priority, one.place))
        ]
        assert lines.has(types) == bool(wanted)
        assert lines.ready == sum(one.spec.type not in paused for one in model)
        assert lines.take_opened() <= {one.spec.type for one in model if one.spec.type not in paused}
        assert all(line.count and line.gate == lines.gates.shutting(line.type) for line in lines)
