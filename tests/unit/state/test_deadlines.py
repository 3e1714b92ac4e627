"""What is due, and when."""

import random

import pytest

from osqueue_service.state import index
from osqueue_service.state.index import Deadlines


def test_numbers_come_due_in_the_order_of_their_moments():
    deadlines = Deadlines()
    for at_ms, number in ((30, 1), (10, 2), (20, 3), (10, 1_000_000)):
        deadlines.add(at_ms, number)
    assert deadlines.next_ms() == 10
    assert list(deadlines.due(9)) == []
    assert list(deadlines.due(10)) == [2, 1_000_000]
    assert list(deadlines.due(30)) == [2, 1_000_000, 3, 1]
    assert list(deadlines) == [2, 1_000_000, 3, 1]


def test_the_largest_number_does_not_spill_into_the_moment():
    deadlines = Deadlines()
    number = (1 << 40) - 1
    deadlines.add(5, number)
    deadlines.add(6, 0)
    assert list(deadlines.due(5)) == [number]
    assert deadlines.next_ms() == 5


def test_an_entry_is_taken_back_exactly():
    deadlines = Deadlines()
    deadlines.add(5, 1)
    with pytest.raises(ValueError):
        deadlines.remove(6, 1)
    deadlines.remove(5, 1)
    assert deadlines.next_ms() is None and len(deadlines) == 0


@pytest.mark.parametrize("piece", [1, 4])
@pytest.mark.parametrize("seed", range(10))
def test_they_agree_with_a_sorted_list(monkeypatch, seed, piece):
    monkeypatch.setattr(index, "PIECE", piece)
    draw = random.Random(seed)
    deadlines, expected = Deadlines(), set()
    for step in range(400):
        if expected and draw.random() < 0.45:
            entry = draw.choice(sorted(expected))
            expected.remove(entry)
            deadlines.remove(*entry)
        else:
            entry = step // 3 if draw.random() < 0.6 else draw.randrange(150), step
            expected.add(entry)
            deadlines.add(*entry)
        now_ms = draw.randrange(150)
        assert list(deadlines.due(now_ms)) == [number for at_ms, number in sorted(expected) if at_ms <= now_ms]
        assert deadlines.next_ms() == min(expected, default=(None, 0))[0]
        assert len(deadlines) == len(expected)
    assert list(deadlines) == [number for _, number in sorted(expected)]


def test_what_is_not_there_is_not_taken_back():
    deadlines = Deadlines()
    with pytest.raises(ValueError, match="nothing is due"):
        deadlines.remove(5, 1)
    deadlines.add(5, 1)
    for at_ms, number in ((5, 0), (5, 2), (4, 1), (6, 1)):
        with pytest.raises(ValueError, match="nothing is due"):
            deadlines.remove(at_ms, number)
    assert list(deadlines) == [1]


def test_a_walk_goes_on_behind_any_entry():
    deadlines = Deadlines()
    entries = [(at_ms, number) for at_ms in range(0, 40, 2) for number in range(120)]
    for at_ms, number in entries:
        deadlines.add(at_ms, number)
    for at_ms, number in ((0, 0), (0, 119), (1, 5), (20, 7), (38, 118), (38, 119), (99, 0)):
        expected = [each for moment, each in entries if (moment, each) > (at_ms, number)]
        assert list(deadlines.after(at_ms, number)) == expected
