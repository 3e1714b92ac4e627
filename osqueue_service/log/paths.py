"""Where each object of a queue lies, below the prefix of its store.

Numbers are padded to a fixed width, so that keys sort as their numbers do and a
listing walks a lane in order.
"""

import re
from typing import NamedTuple

ROOT = "queue.json"
LOG_PREFIX = "log/"
CHECKPOINTS_PREFIX = "checkpoints/"
RESTORE_PREFIX = "restore/"

EPOCH_DIGITS = 10
SEQUENCE_DIGITS = 16
PART_DIGITS = 5
TIME_DIGITS = 15

EPOCH_MAX = 10**EPOCH_DIGITS - 1
SEQUENCE_MAX = 10**SEQUENCE_DIGITS - 1
PART_MAX = 10**PART_DIGITS - 1

_SEGMENT = re.compile(rf"log/([0-9]{{{EPOCH_DIGITS}}})/([0-9]{{{SEQUENCE_DIGITS}}})")
_CHECKPOINT = re.compile(
    rf"checkpoints/([0-9]{{{SEQUENCE_DIGITS}}})-([0-9]{{{EPOCH_DIGITS}}})/([0-9]{{{PART_DIGITS}}})"
)

_RESTORE_POINT = re.compile(rf"restore/([0-9]{{{SEQUENCE_DIGITS}}})-([0-9]{{{EPOCH_DIGITS}}})-([0-9]{{{TIME_DIGITS}}})")


class SegmentPath(NamedTuple):
    """A slot of the log: the lane, named by the epoch that writes it, and the sequence in it."""

    lane: int
    sequence: int


class CheckpointPath(NamedTuple):
    """One of the objects that hold the state after `sequence`, written by the leader of `epoch`."""

    sequence: int
    epoch: int
    part: int


class RestorePoint(NamedTuple):
    """A root that was kept: the one that vouched for the checkpoint of `sequence` and `epoch` when a later one took its
    place, at `kept_at_ms` by the leader's clock."""

    sequence: int
    epoch: int
    kept_at_ms: int

    @property
    def key(self) -> str:
        return f"{RESTORE_PREFIX}{_padded(self.sequence, SEQUENCE_DIGITS)}-{_padded(self.epoch, EPOCH_DIGITS)}-" + (
            _padded(self.kept_at_ms, TIME_DIGITS)
        )


def lane_prefix(lane: int) -> str:
    """What the keys of all slots of a lane begin with."""
    return f"{LOG_PREFIX}{_padded(lane, EPOCH_DIGITS)}/"


def segment_key(lane: int, sequence: int) -> str:
    """The key of one slot of the log; it holds a segment or a fence."""
    return f"{lane_prefix(lane)}{_padded(sequence, SEQUENCE_DIGITS)}"


def checkpoint_prefix(sequence: int, epoch: int) -> str:
    """What the keys of all objects of one checkpoint begin with."""
    return f"{CHECKPOINTS_PREFIX}{_padded(sequence, SEQUENCE_DIGITS)}-{_padded(epoch, EPOCH_DIGITS)}/"


def checkpoint_key(sequence: int, epoch: int, part: int) -> str:
    """The key of one object of a checkpoint; parts are numbered from 0."""
    return f"{checkpoint_prefix(sequence, epoch)}{_padded(part, PART_DIGITS)}"


def parse_segment_key(key: str) -> SegmentPath | None:
    """The slot that a key names, or None for a key that is not one of the log."""
    match = _SEGMENT.fullmatch(key)
    return SegmentPath(int(match[1]), int(match[2])) if match else None


def parse_checkpoint_key(key: str) -> CheckpointPath | None:
    """What a key names, or None for a key that is not one of a checkpoint."""
    match = _CHECKPOINT.fullmatch(key)
    return CheckpointPath(int(match[1]), int(match[2]), int(match[3])) if match else None


def parse_restore_key(key: str) -> RestorePoint | None:
    """The restore point that a key names, or None for a key that is none."""
    match = _RESTORE_POINT.fullmatch(key)
    return RestorePoint(int(match[1]), int(match[2]), int(match[3])) if match else None


def _padded(number: int, digits: int) -> str:
    text = f"{number:0{digits}d}"
    if number < 0 or len(text) != digits:
        # A wider number would sort before narrower ones, and readers would walk past it.
        raise ValueError(f"{number} does not fit in {digits} digits")
    return text
