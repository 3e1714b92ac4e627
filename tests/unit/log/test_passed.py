"""Which checkpoints lie on the way that a replay has come."""

import pytest

from osqueue_service.log import CheckpointRef, PassedPlaces, Position, passed
from osqueue_service.log.paths import segment_key


def place(sequence: int) -> Position:
    return Position(3, sequence, bytes([sequence]) * 32, log_bytes=100 * sequence)


def checkpoint_at(position: Position) -> CheckpointRef:
    return CheckpointRef(
        sequence=position.sequence, epoch=position.lane, hash=position.hash.hex(), form="objects", parts=1
    )


def walked(first: int, last: int) -> PassedPlaces:
    way = PassedPlaces(checkpoint_at(place(first)), place(first))
    for sequence in range(first + 1, last + 1):
        way.add(segment_key(3, sequence), place(sequence))
    return way


def test_every_place_on_the_way_is_known() -> None:
    way = walked(7, 20)
    for sequence in range(7, 21):
        assert way.at(checkpoint_at(place(sequence))) == place(sequence)
    assert way.end == place(20)
    assert way.end_key == segment_key(3, 20)


def test_places_ahead_of_it_and_before_it_are_not() -> None:
    way = walked(7, 20)
    assert way.at(checkpoint_at(place(21))) is None
    assert way.at(checkpoint_at(place(6))) is None
    assert walked(7, 7).end_key is None


@pytest.mark.parametrize("beside", [Position(4, 9, place(9).hash), Position(3, 9, bytes(32))])
def test_another_object_in_the_same_place_is_beside_the_way(beside: Position) -> None:
    assert walked(7, 20).at(checkpoint_at(beside)) is None


def test_the_checkpoint_it_began_with_counts_with_its_content() -> None:
    """At the beginning of a queue all checkpoints lie in the same place with the same hash, and differ in content."""
    genesis = Position(0, 0, bytes(32))
    empty = CheckpointRef(sequence=0, epoch=0, hash="00" * 32, form="empty")
    seed = CheckpointRef(sequence=0, epoch=0, hash="00" * 32, form="seed")
    assert PassedPlaces(empty, genesis).at(empty) == genesis
    assert PassedPlaces(empty, genesis).at(seed) is None


def test_the_way_before_a_checkpoint_is_forgotten() -> None:
    way = walked(7, 20)
    way.begin_at(checkpoint_at(place(15)))
    assert way.at(checkpoint_at(place(15))) == place(15)
    assert way.at(checkpoint_at(place(14))) is None
    assert way.at(checkpoint_at(place(7))) is None
    assert way.at(checkpoint_at(place(18))) == place(18)
    way.begin_at(checkpoint_at(place(15)))
    assert way.end == place(20)


def test_only_so_many_places_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passed, "PASSED_MAX", 5)
    way = walked(7, 20)
    assert way.at(checkpoint_at(place(15))) is None, "forgotten: whoever asks begins with the checkpoint"
    assert way.at(checkpoint_at(place(16))) == place(16)
    assert way.at(checkpoint_at(place(7))) == place(7), "the beginning is never forgotten"
