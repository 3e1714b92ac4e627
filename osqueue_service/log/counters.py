"""What the log met on its way, for metrics and for tests that must see rare events happen."""

from dataclasses import dataclass


@dataclass(slots=True)
class LogCounters:
    """Each field counts events since the process began."""

    puts: int = 0
    """Objects put and settled: segments, fences, checkpoint parts."""
    puts_unknown: int = 0
    """Puts whose answer never came; each was sent again."""
    puts_refused: int = 0
    """Puts the store refused; each was settled by reading the slot."""
    puts_settled_ours: int = 0
    """Refused puts that an earlier try of ours had made after all."""
    puts_settled_absent: int = 0
    """Refused puts whose slot was then found empty; each was sent again."""
    puts_settled_other: int = 0
    """Refused puts whose slot holds another's object."""
    reads_repeated: int = 0
    """Reads and listings that failed and were sent again."""
    unavailable: int = 0
    """Requests the store turned away for now (throttled, connection refused); each was sent again."""
    root_swaps: int = 0
    root_swaps_unsettled: int = 0
    """Root swaps refused or unanswered; each was settled by reading the root."""
    takeovers: int = 0
    """Candidacies that ended in serving."""
    takeovers_followed: int = 0
    """Those of them that went on from what had been followed while standing by."""
    candidacies_lost: int = 0
    """Candidacies that ended back in standing by."""
    fences_met: int = 0
    segments_replayed: int = 0
    """Segments read in takeovers and while standing by."""
    segments_followed: int = 0
    """Those of them that were read while standing by."""
    standby_loads: int = 0
    """Checkpoints a standby began to load, to follow the log from them."""
    standby_failures: int = 0
    """Times a standby let go of what it had followed, because an object was missing or could not be read."""
    attendances_failed: int = 0
    """Times a standby could not attend its leader; it watches the root alone then."""
    checkpoints: int = 0
    checkpoints_failed: int = 0
    """Checkpoints given up though the term goes on; each is tried again, with the state as it is by then."""
    cleanups_failed: int = 0
    """Clean-ups that did not delete all they should have; each is tried again."""
    deletes: int = 0
    deletes_failed: int = 0
    """Deletes given up; the objects stay until the next clean-up."""
    segments: int = 0
    """Own segments known to be durable."""
    records: int = 0
    """Records in them."""
    segment_bytes: int = 0
    checkpoint_bytes: int = 0
    last_segment_at: int = 0
    """When the last one became durable, by the wall clock (ms); 0: none yet. It never goes back, as that clock may."""
