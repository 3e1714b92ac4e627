"""The ordered set of jobs behind rosters and lines."""

import random

import pytest

from osqueue_service.state.index import Index
from osqueue_service.state.model import Job, JobSpec, Node

SPEC = JobSpec("", b"")


def job(number: int) -> Job:
    return Job(SPEC, number, 0, number)


def filled(keys: list[int]) -> tuple[Index, dict[int, Node]]:
    index = Index()
    return index, {key: index.add(key, job(key)) for key in keys}


def keys(index: Index) -> list[int]:
    return [job.number for job in index]


def test_an_empty_index():
    index = Index()
    assert len(index) == 0
    assert keys(index) == []
    assert list(index.from_key(0)) == []
    assert index.first is None and index.last is None


@pytest.mark.parametrize("order", [[1, 2, 3], [3, 2, 1], [2, 1, 3], [1, 1_000, 500, 2]])
def test_jobs_come_in_the_order_of_their_keys(order):
    index, _ = filled(order)
    assert keys(index) == sorted(order)


def test_a_key_is_taken_once():
    index, _ = filled([5, 9])
    with pytest.raises(AssertionError, match="taken"):
        index.add(5, job(5))


@pytest.mark.parametrize("start", [0, 63, 64, 65, 128, 1_000])
def test_walking_begins_at_any_key(start):
    index, _ = filled([1, 63, 64, 66, 127, 129, 640])
    assert [job.number for job in index.from_key(start)] == [k for k in (1, 63, 64, 66, 127, 129, 640) if k >= start]


@pytest.mark.parametrize("start", [-1, 0, 1, 63, 64, 65, 128, 640, 1_000])
def test_walking_down_begins_at_any_key(start):
    index, _ = filled([1, 63, 64, 66, 127, 129, 640])
    below = [k for k in (640, 129, 127, 66, 64, 63, 1) if k <= start]
    assert [job.number for job in index.down_from(start)] == below


def test_a_removed_node_holds_on_to_nothing():
    index, nodes = filled([1, 2, 3])
    index.remove(nodes[2])
    assert nodes[2].before is None and nodes[2].after is None
    assert keys(index) == [1, 3]


def test_a_job_comes_back_to_its_old_place():
    index, nodes = filled(list(range(200)))
    for key in (0, 63, 64, 100, 199):
        index.remove(nodes[key])
        nodes[key] = index.add(key, job(key))
        assert keys(index) == list(range(200))


@pytest.mark.parametrize("seed", range(20))
def test_it_agrees_with_a_sorted_list(seed):
    draw = random.Random(seed)
    index, nodes = Index(), {}
    for _ in range(600):
        if nodes and draw.random() < 0.45:
            key = draw.choice(sorted(nodes))
            index.remove(nodes.pop(key))
        else:
            key = draw.randrange(400)
            if key not in nodes:
                nodes[key] = index.add(key, job(key))
        start = draw.randrange(420)
        assert [job.number for job in index.from_key(start)] == sorted(key for key in nodes if key >= start)
    assert keys(index) == sorted(nodes)
    assert len(index) == len(nodes)
    assert (index.last.key if index.last else None) == max(nodes, default=None)


@pytest.mark.parametrize("seed", range(10))
def test_it_agrees_with_a_sorted_list_while_it_moves_on(seed):
    """As a line does: mostly added to at the end and taken from the front, some come back to their old places."""
    draw = random.Random(seed)
    index, nodes, gone, following = Index(), {}, [], 0
    for _ in range(1_500):
        action = draw.random()
        if action < 0.45:
            following += draw.choice((1, 1, 1, 30, 200))
            nodes[following] = index.add(following, job(following))
        elif action < 0.9 and nodes:
            key = min(nodes) if draw.random() < 0.8 else draw.choice(sorted(nodes))
            index.remove(nodes.pop(key))
            gone.append(key)
        elif gone:
            key = gone.pop(draw.randrange(len(gone)))
            nodes[key] = index.add(key, job(key))
        start = draw.randrange(following + 100)
        assert [job.number for job in index.from_key(start)] == sorted(key for key in nodes if key >= start)
    assert [job.number for job in index.backwards()] == sorted(nodes, reverse=True)
