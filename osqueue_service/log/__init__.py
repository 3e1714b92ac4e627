"""The log on object storage: root, lanes of segments and fences, checkpoints, recovery and clean-up."""

from osqueue_service.log.appender import DEPTH_MAX, Appender
from osqueue_service.log.checkpoints import CheckpointWriter, Image
from osqueue_service.log.cleanup import Cleanup
from osqueue_service.log.counters import LogCounters
from osqueue_service.log.ending import Ending
from osqueue_service.log.passed import PassedPlaces
from osqueue_service.log.position import GENESIS, Position
from osqueue_service.log.read_ahead import Window
from osqueue_service.log.reader import Reader, Reading
from osqueue_service.log.recovery import Replay, apply_segment, load_state
from osqueue_service.log.replayer import Replayer
from osqueue_service.log.restore_points import RestorePoints
from osqueue_service.log.root import CheckpointRef, Root, SeedQueue, decode_root
from osqueue_service.log.segment import Fence, Segment
from osqueue_service.log.settle import Settler
from osqueue_service.log.verification import Finding, Report, verify

__all__ = [
    "DEPTH_MAX",
    "GENESIS",
    "Appender",
    "CheckpointRef",
    "CheckpointWriter",
    "Cleanup",
    "Ending",
    "Fence",
    "Finding",
    "Image",
    "LogCounters",
    "PassedPlaces",
    "Position",
    "Reader",
    "Reading",
    "Replay",
    "Replayer",
    "Report",
    "RestorePoints",
    "Root",
    "SeedQueue",
    "Segment",
    "Settler",
    "Window",
    "apply_segment",
    "decode_root",
    "load_state",
    "verify",
]
