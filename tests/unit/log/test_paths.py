"""Keys sort as the numbers in them do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osqueue_service.log import paths
from osqueue_service.storage.keys import check_key

epochs = st.integers(0, paths.EPOCH_MAX)
sequences = st.integers(0, paths.SEQUENCE_MAX)
parts = st.integers(0, paths.PART_MAX)


@given(epochs, sequences, epochs, sequences)
def test_segments_sort_by_lane_and_sequence(lane: int, sequence: int, lane2: int, sequence2: int) -> None:
    first, second = paths.segment_key(lane, sequence), paths.segment_key(lane2, sequence2)
    assert (first < second) == ((lane, sequence) < (lane2, sequence2))
    assert paths.parse_segment_key(first) == (lane, sequence)
    assert first.startswith(paths.lane_prefix(lane))
    check_key(first)


@given(sequences, epochs, parts, sequences, epochs, parts)
def test_checkpoints_sort_by_sequence_epoch_and_part(
    sequence: int, epoch: int, part: int, sequence2: int, epoch2: int, part2: int
) -> None:
    first = paths.checkpoint_key(sequence, epoch, part)
    second = paths.checkpoint_key(sequence2, epoch2, part2)
    assert (first < second) == ((sequence, epoch, part) < (sequence2, epoch2, part2))
    assert paths.parse_checkpoint_key(first) == (sequence, epoch, part)
    check_key(first)


@pytest.mark.parametrize(
    "key",
    ["queue.json", "log/1/2", "log/0000000001/000000000000000a", "log/0000000001/0000000000000002/x", "log/", ""],
)
def test_other_keys_are_not_slots(key: str) -> None:
    assert paths.parse_segment_key(key) is None
    assert paths.parse_checkpoint_key(key) is None


def test_numbers_that_would_break_the_order_are_refused() -> None:
    for lane, sequence in ((paths.EPOCH_MAX + 1, 1), (1, paths.SEQUENCE_MAX + 1), (-1, 1)):
        with pytest.raises(ValueError, match="does not fit"):
            paths.segment_key(lane, sequence)
