"""What is remembered for a while."""

import random

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


def names(start: int, end: int) -> list[str]:
    return [f"k{number}" for number in range(start, end)]


def test_an_entry_holds_until_it_expires():
    memory = remembering(1)
    assert memory.get("k0", 99) is not None
    assert memory.get("k0", 100) is None
    assert memory.get("other", 0) is None


@pytest.mark.parametrize("count", [0, 1, 3, 1_023, 1_024, 1_025, 5_000])
def test_the_oldest_are_forgotten_first(count):
    memory = remembering(count)
    gone = count // 2
    assert memory.expired(100 + gone - 1, count + 1, count) == names(0, gone)
    memory.forget(names(0, gone))
    assert len(memory) == count - gone
    assert keys(memory) == names(gone, count)
    assert memory.next_expiry_ms() == (100 + gone if count > gone else None)


def test_forgetting_is_bounded():
    memory = remembering(50)
    assert memory.expired(1_000, 7, 50) == names(0, 7)


def test_what_is_above_the_cap_is_forgotten_before_its_time():
    memory = remembering(50)
    assert memory.expired(0, 100, 45) == names(0, 5)


def test_forgetting_in_small_steps_across_chunks():
    memory = remembering(3_000)
    for step in (1, 1_022, 2, 1_000, 500):
        memory.forget(memory.expired(10_000, step, 3_000))
    assert keys(memory) == names(2_525, 3_000)
    memory.remember("new", Entry(9))
    assert keys(memory)[-1] == "new"
    memory.forget(keys(memory))
    assert len(memory) == 0 and memory.next_expiry_ms() is None


def test_an_expired_entry_may_be_replaced():
    memory = remembering(3)
    memory.remember("k1", Entry(500, "second"))
    entry = memory.get("k1", 400)
    assert entry is not None and entry.name == "second"
    assert len(memory) == 3


def test_an_entry_that_is_renewed_does_not_keep_those_behind_it():
    """It was renewed where it stood, at the old end, and for a day nothing behind it could be forgotten."""
    memory = remembering(5)
    memory.remember("k0", Entry(10_000))
    assert keys(memory) == [*names(1, 5), "k0"]
    assert memory.next_expiry_ms() == 101
    assert memory.expired(1_000, 10, 10) == names(1, 5)
    memory.forget(names(1, 5))
    assert (keys(memory), memory.next_expiry_ms()) == (["k0"], 10_000)


def test_entries_may_be_forgotten_out_of_turn():
    memory = remembering(6)
    memory.forget(["k3"])
    memory.remember("k3", Entry(500))
    memory.forget(["k3", "k0"])
    memory.remember("k3", Entry(600))
    assert keys(memory) == ["k1", "k2", "k4", "k5", "k3"]
    memory.forget(["k1", "k2", "k4", "k5", "k3"])
    assert (keys(memory), len(memory), memory.next_expiry_ms()) == ([], 0, None)
    with pytest.raises(KeyError):
        memory.forget(["k1"])


@pytest.mark.parametrize("seed", range(20))
def test_it_is_a_table_in_the_order_of_remembering(seed):
    draw = random.Random(seed)
    memory: Memory[Entry] = Memory()
    model: dict[str, Entry] = {}
    for step in range(3_000):
        key = f"k{draw.randrange(1_500)}"
        if draw.random() < 0.7:
            entry = Entry(draw.randrange(5_000), str(step))
            memory.remember(key, entry)
            model.pop(key, None)
            model[key] = entry
        else:
            oldest = list(model)[: draw.randrange(4)]
            gone = [*oldest, key] if key in model and key not in oldest else oldest
            memory.forget(gone)
            for name in gone:
                del model[name]
        assert memory.next_expiry_ms() == (next(iter(model.values())).expires_at if model else None)
        assert len(memory) == len(model)
    assert [item for chunk in memory.slices() for item in chunk] == list(model.items())


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
    worn.forget(names(0, 700))
    for key, entry in [item for chunk in worn.slices() for item in chunk]:
        fresh.remember(key, entry)
    assert list(worn.slices()) == list(fresh.slices())
