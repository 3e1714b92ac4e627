"""What records do to unique keys, and to idempotency keys of submissions that came with no new job."""

from osqueue_service.state.consistency import require
from osqueue_service.state.model import Job, KeyEntry
from osqueue_service.state.records import KeysAnswered, UniqueKeysFreed
from osqueue_service.state.state import State
from osqueue_service.state.unique import IfRunning, Outcome, marked
from osqueue_service.state.uniques import KeptKey, holds, name_of


def outcome_of(state: State, new: Job) -> int:
    """What the submission of a new job came to, as its idempotency key remembers it."""
    unique = new.spec.unique
    if unique is None or state.uniques.ahead_of(new) is None:
        return new.number
    cancelling = unique.if_running is IfRunning.CANCEL
    return marked(new.number, Outcome.CANCELLING if cancelling else Outcome.QUEUED_AFTER)


def keys_answered(state: State, record: KeysAnswered, at_ms: int) -> None:
    for item in record.items:
        state.keys.remember(item.key, KeyEntry(item.number, item.fingerprint, at_ms + record.ttl_ms))


def unique_keys_freed(state: State, record: UniqueKeysFreed, at_ms: int) -> None:
    require(all(name in state.uniques.kept for name in record.names), "a unique key is freed that is not kept")
    for name in record.names:
        state.uniques.forget(name)


def keep_key(state: State, job: Job) -> None:
    """A job that has let go of its key before its `ttl_ms` was over leaves it kept, unless another has it already."""
    unique = job.spec.unique
    if unique is None or not unique.ttl_ms or holds(job):
        return
    expires_at = job.created_at + unique.ttl_ms
    name = name_of(job)
    if expires_at > state.stamp_ms and name not in state.uniques.holders:
        state.uniques.keep(name, KeptKey(job.number, expires_at))


def free_key(state: State, job: Job) -> None:
    """A purge takes the memory of a key along with the job that it is kept for."""
    if job.spec.unique is None:
        return
    name = name_of(job)
    kept = state.uniques.kept.get(name)
    if kept is not None and kept.number == job.number:
        state.uniques.forget(name)
