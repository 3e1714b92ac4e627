"""What is left when a run is over, and whether it is what everybody was promised."""

from collections.abc import AsyncIterator, Iterator

import msgspec

from osqueue_service.clock import SystemClock
from osqueue_service.engine.rebuild import Rebuild
from osqueue_service.ids import SystemIds
from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.log import CheckpointRef, LogCounters, Reader, Reading, Root, Settler, verify
from osqueue_service.log.paths import ROOT
from osqueue_service.log.root import GENESIS_CHECKPOINT
from osqueue_service.state.image import Snapshot
from osqueue_service.state.model import Status
from osqueue_service.state.state import State
from osqueue_service.storage.memory import MemoryStore
from osqueue_service.storage.store import ObjectStore
from tests.chaos.witness import Witness
from tests.checkers.checks import Windows, check_against_log, check_history
from tests.checkers.history import OK, History
from tests.checkers.logbook import Logbook


async def complaints(history: History, witness: Witness, store: ObjectStore) -> list[str]:
    """Everything that is wrong, in words."""
    limits = DEFAULT_LIMITS
    book = Logbook.walk(witness.log.get, limits.default_max_attempts)
    windows = Windows(limits.idempotency_ttl_ms, limits.request_ttl_ms, limits.settled_ttl_ms)
    found = [*check_history(history), *check_against_log(history, book, windows)]
    found += epochs_of_the_root(witness)
    found += [each async for each in _what_is_stored(history, witness, store)]
    return found


async def complaints_without_a_witness(history: History, store: ObjectStore) -> list[str]:
    """What can be said where nobody saw the requests: a history by itself, and with the state that is left."""
    kept = Rebuild()
    report = await verify(_settler(store), kept)
    errors = [f"{finding.key}: {finding.problem}" for finding in report.findings if finding.severity == "error"]
    return [*check_history(history), *errors, *acknowledged_is_in_the_state(history, kept.state)]


def acknowledged_is_in_the_state(history: History, state: State) -> Iterator[str]:
    """Nothing here is old enough to be forgotten, so all that was ever acknowledged is still to be seen."""
    for event in history.of("submit", "claim", "complete"):
        if event.outcome != OK or not event.job:
            continue
        job = state.find(event.job)
        if job is None:
            yield f"rule 1: an acknowledged job is not there any more: {event}"
        elif event.operation == "complete" and job.status is not Status.COMPLETED:
            yield f"rule 5: its completion was acknowledged, and it is {job.status.wire}: {event}"
        elif event.operation == "claim" and event.attempt > job.claims:
            yield f"rule 4: it was handed out {job.claims} times: {event}"


def epochs_of_the_root(witness: Witness) -> Iterator[str]:
    """The root's epoch never falls, and an epoch has one incarnation."""
    holders: dict[int, str] = {}
    highest = 0
    for swap in witness.swaps:
        root = swap.root
        if root.epoch < highest:
            yield f"rule 3: the root went from epoch {highest} back to {root.epoch}"
        highest = max(highest, root.epoch)
        if holders.setdefault(root.epoch, root.incarnation) != root.incarnation:
            yield f"rule 3: epoch {root.epoch} was held by two incarnations"


async def _what_is_stored(history: History, witness: Witness, store: ObjectStore) -> AsyncIterator[str]:
    """The bucket is sound, and its checkpoint with the log behind it says what the whole log says."""
    kept = Rebuild()
    report = await verify(_settler(store), kept)
    for finding in report.findings:
        if finding.severity == "error":
            yield f"{finding.key}: {finding.problem}"
    for wrong in acknowledged_is_in_the_state(history, kept.state):
        yield wrong
    whole = Rebuild()
    reading = report.reading
    assert reading is not None, "the bucket holds no queue"
    replayed = await Reader(_settler(_everything(witness, reading.root))).read(whole)
    assert isinstance(replayed, Reading)
    if replayed.position.sequence != reading.position.sequence:
        yield (
            f"rule 11: the checkpoint and its log end at {reading.position.sequence}, "
            f"the whole log at {replayed.position.sequence}"
        )
    elif list(Snapshot(kept.state).parts()) != list(Snapshot(whole.state).parts()):
        yield "rule 11: the checkpoint and its log say something else than the whole log does"


def _everything(witness: Witness, root: Root) -> MemoryStore:
    """A bucket in which nothing was ever cleaned up, read from the first commit."""
    store = MemoryStore()
    for key, (body, _) in witness.log.items():
        store.bucket.overwrite(key, body)
    founded: CheckpointRef = GENESIS_CHECKPOINT
    first = msgspec.structs.replace(root, checkpoint=founded, state=None)
    store.bucket.overwrite(ROOT, first.encode())
    return store


def _settler(store: ObjectStore) -> Settler:
    return Settler(store, SystemClock(), SystemIds(), LogCounters())
