"""What operators were told, against the log: a cancel, a retry, a purge or a pause that was acknowledged is in it, and
was durable before the answer left."""

from collections.abc import Iterator

from tests.checkers.history import OK, Event, History
from tests.checkers.logbook import JobEntry, Logbook


def acknowledged_changes_are_in_the_log(history: History, book: Logbook) -> Iterator[str]:
    """Rules 2 and 10 for cancels, retries, purges and updates. Where there was nothing to change, the log says why."""
    for event in history.of("cancel", "retry", "purge", "update"):
        job = book.jobs.get(event.job)
        if event.outcome != OK or event.answered is None or job is None:
            continue
        if not any(book.landed_ms(index) <= event.answered for index in _explain(event, job)):
            yield f"rule 10: a {event.operation} was acknowledged, and nothing durable in the log says so: {event}"


def _explain(event: Event, job: JobEntry) -> list[int]:
    """The commits, any of which makes this answer true."""
    indexes = job.changes[event.operation]
    if event.operation == "cancel":
        indexes = [*indexes, *job.changes["end"]]
    gone = job.evicted if job.evicted is not None else job.purged
    return indexes if gone is None else [*indexes, gone]


def acknowledged_pauses_are_in_the_log(history: History, book: Logbook) -> Iterator[str]:
    """Rules 2 and 10 for pauses and resumes: the type was so at some moment of the call, durably."""
    for event in history.of("pause", "resume"):
        if event.outcome != OK or event.answered is None or "type" not in event.arguments:
            continue
        paused, true = False, event.operation == "resume"
        for index, kind, types in book.pauses:
            if event.arguments["type"] not in types or book.landed_ms(index) > event.answered:
                continue
            paused = kind == "pause"
            if book.landed_ms(index) <= event.invoked:
                true = paused == (event.operation == "pause")
            else:
                true = true or paused == (event.operation == "pause")
        if not true:
            yield f"rule 10: a {event.operation} was acknowledged, and nothing durable in the log says so: {event}"
