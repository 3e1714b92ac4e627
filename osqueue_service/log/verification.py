"""Everything there is to say about a queue's objects: which are damaged, missing, superfluous or foreign."""

from collections.abc import Set
from dataclasses import dataclass, field
from typing import Literal

from osqueue_service.errors import CorruptObject
from osqueue_service.log.appender import DEPTH_MAX
from osqueue_service.log.checkpoints import read_checkpoint
from osqueue_service.log.cleanup import PAGE_KEYS, PARALLEL
from osqueue_service.log.paths import (
    CHECKPOINTS_PREFIX,
    LOG_PREFIX,
    RESTORE_PREFIX,
    ROOT,
    CheckpointPath,
    RestorePoint,
    SegmentPath,
    parse_checkpoint_key,
    parse_restore_key,
    parse_segment_key,
)
from osqueue_service.log.position import Position
from osqueue_service.log.read_ahead import ReadAhead, Window
from osqueue_service.log.reader import READ_TRIES_MAX, Reader, Reading
from osqueue_service.log.recovery import Replay
from osqueue_service.log.replayer import Replayer
from osqueue_service.log.restore_points import read_restore_point
from osqueue_service.log.root import Root, SeedQueue
from osqueue_service.log.segment import Fence, Segment, decode
from osqueue_service.log.settle import Settler

FINDINGS_MAX = 1_000
"""Findings listed; further ones are only counted."""

_FOREIGN = "no broker gives an object such a name: it is ignored, and may be removed"

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with an object, and the way out. An error keeps a broker from starting, or means lost changes."""

    severity: Severity
    key: str
    problem: str


@dataclass(slots=True)
class Report:
    """What a verification saw."""

    reading: Reading | None = None
    seed: SeedQueue | None = None
    objects: int = 0
    leftovers: int = 0
    """Objects that a clean-up will remove, or that a pipeline left behind a fence. Harmless."""
    kept: int = 0
    """Objects that are kept for a way back in time."""
    restore_points: list[RestorePoint] = field(default_factory=list)
    fences: int = 0
    findings: list[Finding] = field(default_factory=list)
    findings_dropped: int = 0

    @property
    def sound(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)

    def add(self, severity: Severity, key: str, problem: str) -> None:
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(severity, key, problem))
        else:
            self.findings_dropped += 1


async def verify(settler: Settler, replayer: Replayer, understood: Set[str] | None = None) -> Report:
    """Read all that the root vouches for into `replayer`, then look at every other object. Writes nothing.

    Raises `WrittenByNewer` for a queue that needs a feature that is not `understood` (None: whatever it needs).
    """
    reader = Reader(settler, understood)
    for _ in range(READ_TRIES_MAX):
        report = await _verify_once(settler, reader, replayer)
        if report.sound or report.reading is None or not await reader.superseded(report.reading.root):
            break
        # What seemed to be missing may have been cleaned up behind a newer checkpoint: look again.
    return report


async def _verify_once(settler: Settler, reader: Reader, replayer: Replayer) -> Report:
    report = Report()
    try:
        found = await reader.read(replayer)
    except CorruptObject as corrupt:
        report.add("error", corrupt.key, corrupt.problem)
        return report
    if isinstance(found, SeedQueue):
        report.seed = found
    elif found is not None:
        report.reading = found
        lost = await found.replay.lost_at_gap()
        if lost is not None:
            report.add("error", lost.key, lost.problem)
    if report.reading is not None:
        await _scan_restore_points(settler, report, report.reading)
    await _scan_log(settler, report)
    await _scan_checkpoints(settler, report)
    return report


async def _scan_log(settler: Settler, report: Report) -> None:
    after = ""
    while page := await settler.list_after(LOG_PREFIX, after, PAGE_KEYS):
        ahead = ReadAhead(settler, page.__getitem__, first=0, window=Window(PARALLEL, PARALLEL), end=len(page))
        try:
            for key in page:
                body = await ahead.take()
                report.objects += 1
                if body is not None:  # otherwise it was cleaned up meanwhile
                    await _look_at(report, key, body)
        finally:
            ahead.close()
        after = page[-1]


async def _look_at(report: Report, key: str, body: bytes) -> None:
    slot = parse_segment_key(key)
    if slot is None:
        report.add("warning", key, _FOREIGN)
        return
    if report.reading is None:
        report.add("error", key, "it belongs to a log, and there is no root that leads to it: restore queue.json")
        return
    try:
        entry = decode(key, body).entry
    except CorruptObject as corrupt:
        report.add("warning", key, f"{corrupt.problem}; no recovery reads it, so nothing is lost")
        return
    reading = report.reading
    if isinstance(entry, Fence):
        report.fences += 1
        return
    evidence = _evidence_of_loss(reading, entry)
    if evidence and not (slot.lane > reading.position.lane and await _reached_meanwhile(reading, slot.lane)):
        report.add("error", key, f"{evidence}: restore what is missing from a copy or an earlier version")
    elif not evidence and not _on_the_way(reading, slot):
        if report.restore_points and (slot.lane, slot.sequence) > _place_of(report.restore_points[0]):
            report.kept += 1
        else:
            report.leftovers += 1


def _evidence_of_loss(reading: Reading, segment: Segment) -> str:
    """Why this segment cannot be there unless something that was durable is gone; "" when it could."""
    checkpoint, position = reading.root.checkpoint, reading.position
    lane, sequence = segment.lane, segment.sequence
    if lane > position.lane:
        # Its writer served, so its fence ended the lane before; and that fence is no longer to be found.
        return f"no fence leads to its lane, the log ends at {reading.replay.gap}"
    if lane > checkpoint.epoch and sequence <= checkpoint.sequence:
        return (
            f"its lane began after the checkpoint at commit {checkpoint.sequence}, which {ROOT} names, and it does not"
        )
    if lane < checkpoint.epoch or sequence <= checkpoint.sequence:
        return ""  # to be cleaned up
    if lane < position.lane and lane not in reading.replay.lane_ends:
        return "no fence leads to its lane, and the log went by it"
    end = reading.replay.lane_ends.get(lane, position.sequence + 1)
    if sequence > end and (segment.settled >= end or sequence > end + DEPTH_MAX):
        # A pipeline may leave segments behind the fence or the gap, but none whose writer knew that slot to be its own.
        return f"its writer went on from commit {end} of its lane, where the log says that the lane had ended"
    return ""


def _on_the_way(reading: Reading, slot: SegmentPath) -> bool:
    """Whether the replay came by this slot."""
    checkpoint, position = reading.root.checkpoint, reading.position
    if slot.lane < checkpoint.epoch or slot.sequence <= checkpoint.sequence:
        return False
    return slot.sequence <= reading.replay.lane_ends.get(slot.lane, position.sequence)


async def _reached_meanwhile(reading: Reading, lane: int) -> bool:
    """Whether a takeover since the log was read explains a higher lane."""
    while await reading.replay.next() is not None:
        pass
    return reading.replay.position.lane >= lane


async def _scan_checkpoints(settler: Settler, report: Report) -> None:
    after = ""
    vouched = report.reading.root.checkpoint if report.reading else None
    while page := await settler.list_after(CHECKPOINTS_PREFIX, after, PAGE_KEYS):
        for key in page:
            report.objects += 1
            path = parse_checkpoint_key(key)
            if path is None:
                report.add("warning", key, _FOREIGN)
            elif vouched is None:
                report.add("error", key, "it belongs to a checkpoint, and there is no root: restore queue.json")
            elif _beyond(report.reading, path):
                report.add("error", key, "it is of a commit that the log does not reach: restore the newest queue.json")
            elif any(_place_of(point) == (path.epoch, path.sequence) for point in report.restore_points):
                report.kept += 1
            elif (path.sequence, path.epoch) != (vouched.sequence, vouched.epoch):
                report.leftovers += 1
        after = page[-1]


def _beyond(reading: Reading | None, path: CheckpointPath) -> bool:
    """Whether a checkpoint is of a place that the log cannot have lost without a trace. It is written before its commit
    is known to be durable, so one that lies beyond the end by no more than a pipeline's length proves nothing."""
    return reading is not None and (
        path.epoch > reading.position.lane or path.sequence > reading.position.sequence + DEPTH_MAX
    )


async def _scan_restore_points(settler: Settler, report: Report, reading: Reading) -> None:
    """Whether every moment since the oldest restore point can be built. The queue itself needs none of it."""
    after = ""
    while page := await settler.list_after(RESTORE_PREFIX, after, PAGE_KEYS):
        for key in page:
            report.objects += 1
            point = parse_restore_key(key)
            if point is None:
                report.add("warning", key, _FOREIGN)
            elif point.sequence < reading.root.checkpoint.sequence:
                report.restore_points.append(point)
        after = page[-1]
    report.kept += len(report.restore_points)
    oldest: Root | None = None
    for point in report.restore_points:
        try:
            root = await read_restore_point(settler, point)
            if root is None:
                continue  # cleaned up meanwhile
            await read_checkpoint(settler, root, lambda chunk: None)
        except CorruptObject as corrupt:
            report.add("warning", corrupt.key, f"{corrupt.problem}; `osqueue restore` cannot begin with it")
        else:
            oldest = oldest or root
    if oldest is not None:
        await _walk_kept_log(settler, report, oldest, reading)


async def _walk_kept_log(settler: Settler, report: Report, oldest: Root, reading: Reading) -> None:
    checkpoint = oldest.checkpoint
    replay = Replay(settler, Position(checkpoint.epoch, checkpoint.sequence, bytes.fromhex(checkpoint.hash)))
    end = reading.root.checkpoint.sequence
    cannot = f"`osqueue restore` cannot build what the queue was from there to commit {end}"
    try:
        while replay.position.sequence < end and await replay.next() is not None:
            await settler.clock.sleep_ms(0)
    except CorruptObject as corrupt:
        report.add("warning", corrupt.key, f"{corrupt.problem}; {cannot}")
    else:
        if replay.position.sequence < end:
            report.add("warning", replay.gap, f"it is missing; {cannot}")
    finally:
        replay.close()


def _place_of(point: RestorePoint) -> tuple[int, int]:
    """Lane and sequence, in the order of the log."""
    return point.epoch, point.sequence
