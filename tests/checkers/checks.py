"""The promises of docs/guarantees.md, as checks over a history and the log it left.

Every check is one linear pass and answers with what is wrong, in words that name the rule,
the job and the events. Checks that need no log take a history alone.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from osqueue_service.state.model import Ending
from tests.checkers.history import OK, REFUSED, Event, History
from tests.checkers.logbook import ClaimEntry, JobEntry, Logbook

ENDINGS = {"complete": Ending.COMPLETED, "fail": Ending.FAILED, "release": Ending.RELEASED}


@dataclass(frozen=True)
class Windows:
    """How long the queue under test remembers, in milliseconds of the time that commits are stamped with."""

    idempotency_ttl_ms: int
    request_ttl_ms: int
    settled_ttl_ms: int


def check_history(history: History) -> Iterator[str]:
    """Everything that a history shows by itself."""
    yield from finished_is_final(history)
    yield from claims_are_numbered_once(history)
    yield from repeated_actions_answer_alike(history)
    yield from one_operation_one_job(history)
    yield from counters_never_fall(history)
    yield from linearizable_reads_see_what_was_acknowledged(history)
    yield from walks_show_nothing_twice(history)


def check_against_log(history: History, book: Logbook, windows: Windows) -> Iterator[str]:
    """Everything that a history and the surviving log show together."""
    yield from book.broken
    yield from epochs_rise(book)
    yield from acknowledged_submissions_are_in_the_log(history, book)
    yield from acknowledged_claims_are_in_the_log(history, book)
    yield from acknowledged_ends_are_in_the_log(history, book, windows)
    yield from acknowledged_positions_exist(history, book)
    yield from refused_is_not_applied(history, book)
    yield from keys_make_one_job(book, windows)
    yield from first_in_first_out(history, book)
    yield from reads_show_durable_state(history, book)
    yield from heartbeats_are_right(history, book)
    yield from live_leases_can_be_settled(history, book)
    yield from nothing_is_taken_back(history, book)
    yield from walks_show_every_job(history, book)
    yield from watches_tell_everything(history, book)


# --- the history alone -----------------------------------------------------------------------------------------------


def finished_is_final(history: History) -> Iterator[str]:
    """Rule 5: no claim invoked after a completion was acknowledged hands that job out."""
    completed: dict[str, float] = {}
    for event in history.of("complete"):
        if event.outcome == OK and event.returned is not None:
            completed[event.job] = min(event.returned, completed.get(event.job, event.returned))
    for event in history.of("claim"):
        if event.outcome == OK and event.job and event.invoked > completed.get(event.job, float("inf")):
            yield f"rule 5: {event.job} was handed out after its completion was acknowledged: {event}"


def claims_are_numbered_once(history: History) -> Iterator[str]:
    """Rule 4: one (job, attempt) is one token, and one token is one attempt."""
    tokens: dict[tuple[str, int], str] = {}
    attempts: dict[str, tuple[str, int]] = {}
    for event in history.of("claim"):
        if event.outcome != OK or not event.job:
            continue
        attempt = (event.job, event.attempt)
        if tokens.setdefault(attempt, event.token) != event.token:
            yield f"rule 4: attempt {event.attempt} of {event.job} was handed out twice: {event}"
        if attempts.setdefault(event.token, attempt) != attempt:
            yield f"rule 4: token {event.token} stands for two attempts: {event}"


def repeated_actions_answer_alike(history: History) -> Iterator[str]:
    """Rule 6: a token's last action, repeated, answers as it did."""
    answers: dict[tuple[str, str], Event] = {}
    for event in history.of(*ENDINGS):
        if event.outcome != OK or not event.token:
            continue
        first = answers.setdefault((event.operation, event.token), event)
        if first.answer != event.answer:
            yield f"rule 6: one action, two answers: {first} and {event}"
        for other in ENDINGS:
            if other != event.operation and (other, event.token) in answers:
                yield f"rule 6: one token, two acknowledged actions: {answers[other, event.token]} and {event}"


def one_operation_one_job(history: History) -> Iterator[str]:
    """Rule 9: all acknowledged attempts of one submission name the same job."""
    jobs: dict[str, Event] = {}
    for event in history.of("submit"):
        if event.outcome == OK:
            first = jobs.setdefault(event.key, event)
            if first.job != event.job:
                yield f"rule 9: one submission, two jobs: {first} and {event}"


def counters_never_fall(history: History) -> Iterator[str]:
    """Rule 13: figures at a later position are not smaller; rule 12: jobs are conserved in each answer."""
    seen = sorted((event for event in history.of("stats") if event.outcome == OK), key=lambda event: event.position)
    for event in seen:
        totals = event.answer
        accounted = sum(totals[name] for name in ("live", "completed", "cancelled", "dead", "purged", "dead_evicted"))
        accounted -= totals.get("revived", 0)
        if totals["submitted"] != accounted:
            yield f"rule 12: {totals['submitted']} jobs submitted, {accounted} accounted for: {event}"
    for before, after in pairwise(seen):
        for name in ("submitted", "completed", "cancelled", "claimed", "died"):
            if after.answer[name] < before.answer[name]:
                yield f"rule 13: {name} fell: {before} and {after}"


def linearizable_reads_see_what_was_acknowledged(history: History) -> Iterator[str]:
    """Reads called linearizable are at or after every position acknowledged before they were asked."""
    moments: list[tuple[float, int, Event]] = []
    for event in history:
        if event.outcome == OK and event.epoch and event.returned is not None and event.operation in _WRITES:
            moments.append((event.returned, 0, event))
        elif event.outcome == OK and event.epoch and event.arguments.get("linearizable"):
            moments.append((event.invoked, 1, event))
    latest = (0, 0)
    for _, kind, event in sorted(moments, key=lambda moment: moment[:2]):
        if kind == 0:
            latest = max(latest, event.position)
        elif event.position < latest:
            yield f"rule 13 of storage: a linearizable read is older than {latest}, acknowledged before it: {event}"


_WRITES = ("submit", "claim", "complete", "fail", "release", "cancel", "retry", "purge", "update", "run")


def walks_show_nothing_twice(history: History) -> Iterator[str]:
    """Rule 14: no job is on two pages of one walk."""
    for event in history.of("walk"):
        if event.outcome == OK and len(set(event.answer)) != len(event.answer):
            twice = sorted({job for job in event.answer if event.answer.count(job) > 1})
            yield f"rule 14: a walk showed {twice} twice: {event.process} at {event.invoked:.1f}"


# --- the history and the log -----------------------------------------------------------------------------------------


def epochs_rise(book: Logbook) -> Iterator[str]:
    """Rule 3: fences name rising epochs."""
    for (before, _), (after, sequence) in pairwise(book.fences):
        if after <= before:
            yield f"rule 3: the fence at {sequence} goes from epoch {before} to {after}"


def _late(event: Event, book: Logbook, index: int) -> bool:
    """Whether the answer left before the commit at this index was durable."""
    return event.answered is not None and book.landed_ms(index) > event.answered


def acknowledged_submissions_are_in_the_log(history: History, book: Logbook) -> Iterator[str]:
    """Rules 1, 2 and 10: an acknowledged job is in the log, as it was submitted, since before the acknowledgement."""
    for event in history.of("submit"):
        if event.outcome != OK:
            continue
        job = book.jobs.get(event.job)
        if job is None:
            yield f"rule 1: an acknowledged job is not in the log: {event}"
        elif job.payload != event.arguments["payload"]:
            yield f"rule 9: the job that answers for a submission is another one: {event}"
        elif _late(event, book, job.submitted):
            yield f"rule 10: acknowledged before it was durable: {event}"


def acknowledged_claims_are_in_the_log(history: History, book: Logbook) -> Iterator[str]:
    """Rules 2, 4 and 10 for claims."""
    for event in history.of("claim"):
        if event.outcome != OK or not event.job:
            continue
        job, claim = book.tokens.get(event.token, (None, None))
        if job is None or claim is None:
            yield f"rule 2: an acknowledged claim is not in the log: {event}"
        elif (job.job_id, claim.attempt) != (event.job, event.attempt):
            yield f"rule 4: the log has {event.token} as attempt {claim.attempt} of {job.job_id}: {event}"
        elif _late(event, book, claim.claimed):
            yield f"rule 10: a job was handed out before its claim was durable: {event}"


def acknowledged_ends_are_in_the_log(history: History, book: Logbook, windows: Windows) -> Iterator[str]:
    """Rules 2, 6 and 10 for completions, failures and releases: only the current token, and then for sure."""
    for event in history.of(*ENDINGS):
        if not event.token:
            job = book.jobs.get(event.job)
            if event.outcome == OK and event.operation == "complete" and (job is None or job.completed is None):
                yield f"rule 2: completed without a token, and not in the log: {event}"
            continue
        job, claim = book.tokens.get(event.token, (None, None))
        if event.outcome == OK:
            if job is None or claim is None or claim.ending is not ENDINGS[event.operation]:
                how = claim.ending.name.lower() if claim is not None and claim.ending is not None else "not at all"
                yield f"rule 6: acknowledged, but the attempt ended {how}: {event}"
            elif claim.ended is not None and _late(event, book, claim.ended):
                yield f"rule 10: acknowledged before it was durable: {event}"
        elif event.reason in ("LEASE_LOST", "JOB_NOT_FOUND") and job is not None and claim is not None:
            yield from _false_refusal(event, job, claim, book, windows)


def _false_refusal(event: Event, job: JobEntry, claim: ClaimEntry, book: Logbook, windows: Windows) -> Iterator[str]:
    """Rule 6: a repeated last action is not refused within its window."""
    if claim.ending is not ENDINGS[event.operation] or claim.ended is None or job.purged is not None:
        return
    ended_at = book.commits[claim.ended].at_ms
    refused_at = event.arguments.get("queue_ms", ended_at)
    if refused_at - ended_at < windows.settled_ttl_ms - 1_000:
        yield f"rule 6: it was this very action that ended the attempt, and it was refused: {event}"


def acknowledged_positions_exist(history: History, book: Logbook) -> Iterator[str]:
    """Rules 2 and 3: no acknowledgement names a place behind the fence that ended its epoch."""
    ends = {epoch: last for epoch, (_, last) in book.epochs.items()}
    for epoch, sequence in book.fences:
        ends.setdefault(epoch, sequence)
    for event in history:
        if event.outcome == OK and event.epoch and event.sequence > ends.get(event.epoch, 0):
            yield f"rule 3: epoch {event.epoch} ends at {ends.get(event.epoch)} in the log: {event}"


def refused_is_not_applied(history: History, book: Logbook) -> Iterator[str]:
    """`refused` means certainly not applied: nothing is in the log before an attempt that was not refused began."""
    by_content = {job.payload: job for job in book.jobs.values()}
    submissions: dict[str, list[Event]] = defaultdict(list)
    for event in history.of("submit", "meet"):
        submissions[event.arguments["payload"]].append(event)
    for payload, events in submissions.items():
        job = by_content.get(payload)
        if job is not None and _only_refused_before(events, book.landed_ms(job.submitted)):
            yield f"refused, and applied all the same as {job.job_id}: {_refused(events)}"
    ends: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in history.of("complete", "fail"):
        if event.token:
            ends[event.operation, event.token].append(event)
    for (operation, token), events in ends.items():
        _, claim = book.tokens.get(token, (None, None))
        if claim is None or claim.ended is None or claim.ending is not ENDINGS[operation]:
            continue
        if _only_refused_before(events, book.landed_ms(claim.ended)):
            yield f"refused, and applied all the same: {_refused(events)}"


def _only_refused_before(events: list[Event], landed_ms: float) -> bool:
    return all(event.outcome == REFUSED for event in events if event.invoked <= landed_ms)


def _refused(events: list[Event]) -> Event:
    return next((event for event in events if event.outcome == REFUSED), events[0])


def keys_make_one_job(book: Logbook, windows: Windows) -> Iterator[str]:
    """Rule 9: within the window one key is one job, and so is one call however often it is repeated."""
    seen: dict[tuple[str, bytes], JobEntry] = {}
    for job in book.jobs.values():
        name = (
            ("key", job.spec.idempotency_key.encode())
            if job.spec.idempotency_key
            else ("payload", job.payload.encode())
        )
        before = seen.get(name)
        seen[name] = job
        if before is None:
            continue
        apart_ms = book.commits[job.submitted].at_ms - book.commits[before.submitted].at_ms
        if apart_ms < (windows.idempotency_ttl_ms if job.spec.idempotency_key else windows.request_ttl_ms):
            what = f"are one submission ({name[1].decode()}), {apart_ms} ms apart"
            yield f"rule 9: {before.job_id} and {job.job_id} {what}"


def first_in_first_out(history: History, book: Logbook) -> Iterator[str]:
    """Rule 8: of two jobs of one type and priority, the one acknowledged before the other was submitted goes first."""
    lines: dict[tuple[str, int], list[tuple[float, int, JobEntry]]] = defaultdict(list)
    first_tried: dict[str, float] = {}  # a repeated call may have been applied from its first attempt on
    for event in history.of("submit"):
        first_tried.setdefault(event.key, event.invoked)
        job = book.jobs.get(event.job)
        if event.outcome != OK or event.returned is None or job is None or job.spec.run_at or event.answer:
            continue
        if job.spec.unique is not None or job.spec.sequence is not None or job.spec.limits or job.spec.fairness_key:
            continue  # it may have stood behind others first, or may not have had room, or its turn
        if job.spec.more is not None and job.spec.more.member is not None:
            continue  # it may have waited for what it needs
        if job.changes["update"]:
            continue
        line = lines[job.spec.type, job.spec.priority]
        line.append((first_tried[event.key], 1, job))
        line.append((event.returned, 0, job))
    for line in lines.values():
        latest: JobEntry | None = None
        for _, kind, job in sorted(line, key=lambda moment: moment[:2]):
            if kind == 1 and latest is not None and job.first_claim is not None:
                assert latest.first_claim is not None
                if job.first_claim < latest.first_claim and job is not latest:
                    yield f"rule 8: {job.job_id} was claimed before {latest.job_id}, which was submitted before it"
            later = latest is None or (job.first_claim or 0) > (latest.first_claim or 0)
            if kind == 0 and job.first_claim is not None and later:
                latest = job


def reads_show_durable_state(history: History, book: Logbook) -> Iterator[str]:
    """Reads show durable state only, and a linearizable negative answer is true."""
    acknowledged: dict[str, float] = {}
    for event in history.of("submit"):
        if event.outcome == OK and event.returned is not None:
            acknowledged.setdefault(event.job, event.returned)
    for event in history.of("get"):
        job = book.jobs.get(event.job)
        if event.outcome == OK:
            if job is None or _late(event, book, job.submitted):
                yield f"a read showed a job that was not durable: {event}"
            elif event.answer["status"] == "completed" and (job.completed is None or _late(event, book, job.completed)):
                yield f"a read showed a completion that was not durable: {event}"
        elif event.reason == "JOB_NOT_FOUND" and event.arguments.get("linearizable"):
            known = acknowledged.get(event.job, float("inf")) < event.invoked
            gone = job is not None and (job.evicted if job.evicted is not None else job.purged)
            if known and (gone is None or gone is False or _late(event, book, gone)):
                yield f"rule 1: an acknowledged job was not found by a linearizable read: {event}"


def heartbeats_are_right(history: History, book: Logbook) -> Iterator[str]:
    """Rule 6: a heartbeat is acknowledged while the lease is live, and refused when it is not; but by a leader whose
    time is over without its knowing: what it says of heartbeats may be outdated, and the SDK does not believe it."""
    for event in history.of("heartbeat"):
        if not event.token:  # an adopted job's worker knows none
            continue
        job, claim = book.tokens.get(event.token, (None, None))
        if job is None or claim is None:
            if event.outcome == OK:
                yield f"rule 6: a heartbeat of no lease was acknowledged: {event}"
            continue
        if event.outcome == OK and _over_before(event, claim, book):
            yield f"rule 6: the lease was over, and its heartbeat acknowledged: {event}"
        if event.reason not in ("LEASE_LOST", "JOB_NOT_FOUND") or event.answered is None or job.purged is not None:
            continue
        if event.epoch < book.commits[claim.claimed].epoch:
            continue
        if claim.ended is None or book.landed_ms(claim.ended) > event.answered:
            yield f"rule 6: the lease was live, and its heartbeat refused: {event}"


def live_leases_can_be_settled(history: History, book: Logbook) -> Iterator[str]:
    """Rule 6: whoever holds a lease before, during and after ending its attempt is not told that it is lost, but by a
    leader whose time is over without its knowing."""
    for event in history.of(*ENDINGS):
        if event.reason not in ("LEASE_LOST", "JOB_NOT_FOUND") or event.answered is None:
            continue
        job, claim = book.tokens.get(event.token, (None, None))
        if job is None or claim is None or job.purged is not None:
            continue
        if event.epoch < book.commits[claim.claimed].epoch or _late(event, book, claim.claimed):
            continue
        if claim.ended is None or book.landed_ms(claim.ended) > event.answered:
            yield f"rule 6: the lease was live, and its {event.operation} refused: {event}"


def _over_before(event: Event, claim: ClaimEntry, book: Logbook) -> bool:
    """Whether the attempt had ended before the event, as far as the leader that answered could know."""
    if claim.ended is None:
        return False
    return book.commits[claim.ended].epoch <= event.epoch and book.landed_ms(claim.ended) < event.invoked


def nothing_is_taken_back(history: History, book: Logbook) -> Iterator[str]:
    """A job that a worker was told it holds is given back by that worker only."""
    asked = {event.token for event in history.of("release")}
    for event in history.of("claim"):
        if event.outcome != OK or not event.token or event.token in asked:
            continue
        _, claim = book.tokens.get(event.token, (None, None))
        if claim is not None and claim.ending is Ending.RELEASED:
            yield f"a job was handed out, and given back without its worker: {event}"


def walks_show_every_job(history: History, book: Logbook) -> Iterator[str]:
    """Rule 14: a job that was there throughout a walk is shown by it."""
    submitted: list[tuple[float, str]] = []
    for event in history.of("submit"):
        if event.outcome == OK and event.returned is not None:
            submitted.append((event.returned, event.job))
    for event in history.of("walk"):
        if event.outcome != OK or event.answered is None or not event.arguments.get("linearizable"):
            continue
        shown = set(event.answer)
        for returned, job_id in submitted:
            job = book.jobs.get(job_id)
            if returned >= event.invoked or job_id in shown or job is None:
                continue
            gone = job.evicted if job.evicted is not None else job.purged
            if gone is None or book.landed_ms(gone) > event.answered:
                yield f"rule 14: {job_id} was there throughout a walk that did not show it: {event.process}"


def watches_tell_everything(history: History, book: Logbook) -> Iterator[str]:
    """Between two resyncs a watch tells what each commit did, once, in order, and not before it is durable."""
    watches = [event for event in history.of("watch") if event.outcome == OK]
    if not watches:
        return
    places = {(commit.epoch, commit.sequence): index for index, commit in enumerate(book.commits)}
    done: dict[int, list[tuple[str, str, int]]] = defaultdict(list)
    for job in book.jobs.values():
        done[job.submitted].append(("SUBMITTED", job.job_id, 0))
        for claim in job.claims:
            done[claim.claimed].append(("CLAIMED", job.job_id, claim.attempt))
            if claim.ended is not None and claim.ending is Ending.COMPLETED:
                done[claim.ended].append(("COMPLETED", job.job_id, claim.attempt))
    for event in watches:
        last = event.arguments["from"]
        for answered, sequence, told in event.answer:
            found = sorted(item for item in map(tuple, told) if item[0] in _TOLD)
            commits = [places.get((event.epoch, number)) for number in range(last + 1, sequence + 1)]
            if None in commits or any(book.landed_ms(index) > answered for index in commits if index is not None):
                yield f"rule 10: a watch told of a commit that was not durable: {event}"
                break
            happened = sorted(item for index in commits if index is not None for item in done[index])
            if found != happened if event.arguments["whole"] else not set(found) <= set(happened):
                yield f"a watch told {found} of the commits behind {last}, and they were {happened}: {event}"
                break
            last = sequence


_TOLD = ("SUBMITTED", "CLAIMED", "COMPLETED")
