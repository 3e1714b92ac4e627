"""What is due, and when."""

import pytest

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
