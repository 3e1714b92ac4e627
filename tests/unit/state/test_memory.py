"""What is remembered for a while."""

import pytest
from msgspec import Struct

from osqueue_service.state.memory import Memory


class Entry(Struct):
    expires_at: int
    name: str = ""


def remembering(count: int, first_expiry: int = 100) -> Memory[Entry]:
    memory: Memory[Entry] = Memory()
    for number in range(count):
        memory.remember(f"k{number}", Entry(first_expiry + number))
    return memory


def keys(memory: Memory[Entry]) -> list[str]:
    return [key for chunk in memory.slices() for key, _ in chunk]


def test_an_entry_holds_until_it_expires():
    memory = remembering(1)
    assert memory.get("k0", 99) is not None
    assert memory.get("k0", 100) is None
    assert memory.get("other", 0) is None


@pytest.mark.parametrize("count", [0, 1, 3, 1_023, 1_024, 1_025, 5_000])
def test_the_oldest_are_forgotten_first(count):
    memory = remembering(count)
    gone = count // 2
    assert memory.expired(100 + gone - 1, count + 1, count) == gone
    memory.forget(gone)
    assert len(memory) == count - gone
    assert keys(memory) == [f"k{number}" for number in range(gone, count)]
    assert memory.next_expiry_ms() == (100 + gone if count > gone else None)


def test_forgetting_is_bounded():
    memory = remembering(50)
    assert memory.expired(1_000, 7, 50) == 7


def test_what_is_above_the_cap_is_forgotten_before_its_time():
    memory = remembering(50)
    assert memory.expired(0, 100, 45) == 5


def test_forgetting_in_small_steps_across_chunks():
    memory = remembering(3_000)
    for step in (1, 1_022, 2, 1_000, 500):
        memory.forget(step)
    assert keys(memory) == [f"k{number}" for number in range(2_525, 3_000)]
    memory.remember("new", Entry(9))
    assert keys(memory)[-1] == "new"
    memory.forget(len(memory))
    assert len(memory) == 0 and memory.next_expiry_ms() is None


def test_an_expired_entry_may_be_replaced():
    memory = remembering(3)
    memory.remember("k1", Entry(500, "second"))
    entry = memory.get("k1", 400)
    assert entry is not None and entry.name == "second"
    assert len(memory) == 3


def test_a_walk_sees_the_entries_of_the_moment_at_which_it_was_asked_for():
    memory = remembering(2_500)
    before = [item for chunk in memory.slices() for item in chunk]
    walk = memory.slices()
    memory.remember("later", Entry(1))
    seen = list(next(walk))
    memory.remember("later still", Entry(1))
    memory.remember("k2400", Entry(999, "changed"))
    for chunk in walk:
        memory.remember(f"even later {len(seen)}", Entry(1))
        seen += chunk
    assert seen == before


def test_equal_tables_have_equal_slices_whatever_was_forgotten_before():
    worn, fresh = remembering(3_000), Memory()
    worn.forget(700)
    for key, entry in [item for chunk in worn.slices() for item in chunk]:
        fresh.remember(key, entry)
    assert list(worn.slices()) == list(fresh.slices())
