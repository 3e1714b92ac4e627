"""What must hold in every state. Checked by tests and the simulator after every step."""

from collections import Counter
from operator import add
from typing import Any

from msgspec.structs import astuple

from osqueue_service.state.batch_changes import file_batch
from osqueue_service.state.batch_invariants import InvariantBroken as InvariantBroken
from osqueue_service.state.batch_invariants import check_batches
from osqueue_service.state.blocking import block_of
from osqueue_service.state.fairness import level_of
from osqueue_service.state.gates import LIMITED, Reason
from osqueue_service.state.graphs import member_of
from osqueue_service.state.image import add_job, image_of, job_of
from osqueue_service.state.limit_table import OPEN, LimitKey
from osqueue_service.state.line import BoundLine
from osqueue_service.state.model import Job, Lease, Status
from osqueue_service.state.placement import count_from, held_when_dead
from osqueue_service.state.schedule_changes import is_live
from osqueue_service.state.schedules import Schedules, Tally
from osqueue_service.state.sequences import belongs
from osqueue_service.state.state import State
from osqueue_service.state.uniques import holds, name_of


def check(state: State) -> None:
    """Raise `InvariantBroken` naming the first rule that does not hold. Costs O(n)."""
    check_conservation(state)
    _check_jobs(state)
    _check_indexes(state)


def check_conservation(state: State) -> None:
    """Every job ever submitted is somewhere, exactly once. Costs O(1)."""
    totals = state.counters
    dead = state.count(Status.DEAD)
    accounted = (
        state.live + totals.completed + totals.cancelled - state.graphs.revived + dead
        + totals.dead_evicted + totals.dead_purged + totals.live_purged
    )  # fmt: skip
    _check(
        totals.submitted == accounted,
        f"{totals.submitted} jobs were submitted, {accounted} are accounted for",
    )
    _check(len(state.jobs) == sum(len(roster) for roster in state.rosters), "a job is in no roster, or in two")
    died = totals.died - totals.retried
    _check(died == dead + totals.dead_evicted + totals.dead_purged, "dead letters do not add up")


def _check_jobs(state: State) -> None:
    for number, job in state.jobs.items():
        _check(job.number == number, f"job {number} is filed under another number")
        _check(job.number < state.next_number and job.place < state.next_number, f"job {number} is from the future")
        _check((job.lease is not None) == (job.status is Status.IN_PROGRESS), f"job {number}: lease and status differ")
        _check(job.status.finished == bool(job.finished_at), f"job {number}: finished without a time, or the reverse")
        _check((job.due_at > 0) == (job.status is Status.SCHEDULED), f"job {number}: due and status differ")
        _check(0 <= job.attempts <= job.claims, f"job {number}: {job.attempts} attempts of {job.claims} claims")
        numbers = [attempt.number for attempt in job.history]
        _check(numbers == sorted(set(numbers)), f"job {number}: attempts are not numbered upwards")
        _check(job.result is None or job.status is Status.COMPLETED, f"job {number}: result without completion")


def _check_indexes(state: State) -> None:
    sizes: Counter[str] = Counter()
    for status in Status:
        numbers = [job.number for job in state.rosters[status]]
        _check(numbers == sorted(numbers), f"the roster of {status.wire} is out of order")
        for job in state.rosters[status]:
            _check(job.status is status, f"job {job.number} is in the roster of {status.wire}")
            _count(state, sizes, job)
    by_type = Counter((job.spec.type, job.status) for job in state.jobs.values())
    counted = {(name, status): counts[status] for name, counts in state.type_counts.items() for status in Status}
    _check(by_type == Counter(counted) and all(map(any, state.type_counts.values())), "counts by type do not add up")
    grouped = sorted(job.number for group in state.dead_groups.values() for job in group)
    _check(grouped == [job.number for job in state.rosters[Status.DEAD]], "dead letters and their groups differ")
    _check_lines(state)
    _check_graphs(state)
    check_batches(state)
    _check_schedules(state)
    _check_limits(state)
    _check_fairness(state)
    _check(len(state.scheduled) == state.count(Status.SCHEDULED), "scheduled jobs and their deadlines differ")
    finished = sum(state.count(status) for status in Status if status.finished)
    kept = (
        len(state.retention)
        + len(state.dead_retention)
        + len(state.promised_retention)
        + state.held_dead
        + len(state.graphs.pinned)
    )
    _check(kept == finished, "finished jobs and their retention differ")
    held = Counter((lease.worker_id, lease.claim_key) for lease in _leases(state) if lease.claim_key)
    _check(
        held == Counter({key: len(numbers) for key, numbers in state.claims.items()}), "claim keys and leases differ"
    )
    for batch in state.batches.by_number.values():
        sizes["live"] += sum(spec.size for spec in batch.waiting())
    _check(state.live_bytes == sizes["live"], "live bytes do not add up")
    _check(state.history_bytes == sizes["history"], "bytes of live jobs' histories do not add up")
    _check(state.finished_bytes == sizes["finished"], "finished bytes do not add up")
    _check(state.dead_bytes == sizes["dead"], "dead letters' bytes do not add up")
    _check(state.promised_bytes == sizes["promised"], "promised bytes do not add up")
    _check((state.held_dead, state.held_dead_bytes) == (sizes["held"], sizes["held bytes"]), "held dead letters differ")
    _check_gates(state)
    _check(state.graphs.pinned_bytes == sizes["pinned"], "pinned bytes do not add up")
    promised = sum(1 for job in state.jobs.values() if job.spec.retention_ms)
    _check(state.promised_jobs == promised, "promised jobs do not add up")
    reserved = sum(1 for job in state.jobs.values() if job.spec.on_dead is not None and not job.status.finished)
    reserved += sum(len(batch.waiting()) for batch in state.batches.by_number.values())
    _check(state.reserved_jobs == reserved, "reserved jobs do not add up")
    followed = list(state.followed.keys())
    _check(all(map(state.settled.__contains__, followed)), "follow-ups of a token that is forgotten")


def _check_gates(state: State) -> None:
    _check(not state.opened, "a gate has opened, and those behind it were not let go")
    keys: dict[str, list[Job]] = {}
    for job in state.jobs.values():
        if holds(job):
            keys.setdefault(name_of(job), []).append(job)
    for name, jobs in keys.items():
        jobs.sort(key=lambda job: job.number)
        _check(state.uniques.holders.get(name) is jobs[0], f"the unique key {name!r} has another holder")
        _check(len(jobs) <= 2, f"the unique key {name!r} has {len(jobs)} jobs")
        _check(state.uniques.successors.get(name) is (jobs[1] if jobs[1:] else None), f"{name!r} has another successor")
        _check(all(job.status is Status.BLOCKED for job in jobs[1:]), f"two live jobs hold the unique key {name!r}")
    _check(len(state.uniques.holders) == len(keys), "unique keys are held that no job asks for")
    _check_sequences(state)
    for job in state.rosters[Status.BLOCKED]:
        member = member_of(job)
        waits = block_of(state, job) is not None or (member is not None and bool(member.needs))
        _check(waits, f"job {job.number} is blocked, and nothing blocks it")


def _check_graphs(state: State) -> None:
    for number, graph in state.graphs.by_number.items():
        _check(bool(graph.nodes), f"workflow {number} has no job and is there")
        _check(bool(graph.live) != bool(graph.workflow.settled_at), f"workflow {number}: settled and live, or neither")
        kept = {state.jobs[each].keep_until for each in graph.nodes.values()}
        _check(bool(graph.live) or len(kept) == 1, f"workflow {number}: its jobs are kept differently long")
        _check(len(graph.nodes) <= graph.workflow.total, f"workflow {number} has more jobs than were added")


def _check_sequences(state: State) -> None:
    members = [job for job in state.jobs.values() if job.spec.sequence is not None and belongs(job)]
    listed = 0
    for key, sequence in state.sequences.by_key.items():
        _check(sequence.head is not None, f"the sequence {key!r} has no head")
        waiting = list(sequence.waiting)
        turns = [job.more.turn if job.more is not None else 0 for job in waiting]
        _check(turns == sorted(turns) and all(turns), f"the sequence {key!r} is out of order")
        _check(all(job.status is Status.BLOCKED for job in waiting), f"the sequence {key!r} has two jobs that may run")
        listed += 1 + len(waiting)
    _check(listed == len(members), "a job is in no sequence, or in two")


def _check_lines(state: State) -> None:
    lines = state.lines
    for line in lines:
        places = [job.place for job in line]
        _check(bool(places) and places == sorted(places), f"a line of the type {line.type!r} is empty or out of order")
        if line.gate is not LIMITED:
            _check(line.gate == lines.gates.shutting(line.type), f"a line of the type {line.type!r} missed its gate")
    waiting = sorted(job.number for line in lines for job in line)
    _check(waiting == [job.number for job in state.rosters[Status.UNCLAIMED]], "the lines and the roster differ")
    ready = sorted((-job.spec.priority, job.place, job.number) for line in lines if line.gate is None for job in line)
    order = [(-job.spec.priority, job.place, job.number) for job in lines.in_order()]
    if lines.fairness.levels:
        _check_turns(state, order)
        order.sort()
    _check(order == ready, "the order of claims is not that of the ready lines")
    _check(lines.ready == len(ready), "jobs in ready lines do not add up")
    parked = sum(len(line) for line in lines if line.gate is LIMITED)
    _check(lines.parked == parked, "jobs in parked lines do not add up")
    _check(lines.bound == sum(type(line) is BoundLine for line in lines), "lines under limits do not add up")


def _check_turns(state: State, order: list[tuple[int, int, int]]) -> None:
    """Turns are counted at priorities where keys wait, for each key as many as there are jobs; no line stands where it
    would be met too late."""
    lines, keyed, waiting = state.lines, set(), Counter[tuple[int, str]]()
    for job in state.rosters[Status.UNCLAIMED]:
        waiting[level_of(job.spec.priority), job.spec.fairness_key] += 1
        keyed.update([level_of(job.spec.priority)] if job.spec.fairness_key else [])
    _check([each[0] for each in order] == sorted(each[0] for each in order), "a priority is served before a higher one")
    levels = lines.fairness.levels
    _check(keyed <= set(levels), "keys wait at a priority where no turns are counted")
    for name, level in levels.items():
        counted = {key: share.waiting for key, share in level.shares.items() if share.waiting}
        told = {key: count for (each, key), count in waiting.items() if each == name}
        _check(counted == told and level.waiting == sum(told.values()), "waiting jobs of keys do not add up")
        idle = [share for share in level.shares.values() if not share.waiting]
        _check(all(share.turns > level.clock for share in idle), "a key is kept that says nothing")
    for line in lines:
        unit = line.bundle if type(line) is BoundLine else line
        share = levels[line.key[0]].shares[line.key[1]] if line.key[0] in levels else None
        _check(unit.share is share, "a line has the turns of another key")
        _check(line.gate is not None or (unit.head is not None and unit.head[0] <= unit.rank), "a line is met too late")


def _check_fairness(state: State) -> None:
    counts: Counter[tuple[str, Status]] = Counter()
    for status in (Status.UNCLAIMED, Status.IN_PROGRESS):
        counts.update((job.spec.fairness_key, status) for job in state.rosters[status] if job.spec.fairness_key)
    kept = state.fairness
    for row in kept.keys.values():
        told = (counts[row.key, Status.UNCLAIMED], counts[row.key, Status.IN_PROGRESS])
        _check((row.waiting, row.running) == told and any(told), f"the fairness key {row.key!r} does not add up")
    _check(len(kept.keys) == len({key for key, _ in counts}), "a fairness key is not known")
    _check(list(kept.names(None)) == sorted({*kept.keys, *kept.weights}), "fairness keys are out of order")
    sums = sum(row.waiting for row in kept.keys.values()), sum(row.running for row in kept.keys.values())
    _check((kept.waiting, kept.running) == sums, "jobs with fairness keys do not add up")


def _check_limits(state: State) -> None:
    """Slots are the leases, and no line is parked at a key that has room for it and owes nobody."""
    running: Counter[tuple[str, str]] = Counter()
    waiting: Counter[tuple[str, str]] = Counter()
    queued: Counter[tuple[str, str]] = Counter()
    for job in state.jobs.values():
        for use in job.spec.limits:
            if job.status is Status.IN_PROGRESS:
                running[use.limit, use.key] += use.cost
            elif not job.status.finished:
                waiting[use.limit, use.key] += 1
                queued[use.limit, use.key] += use.cost if job.status is Status.UNCLAIMED else 0
    keys = {(name, key): row for name, family in state.limits.families.items() for key, row in family.keys.items()}
    _check({name: row.running for name, row in keys.items() if row.running} == running, "slots and leases differ")
    _check({name: row.waiting for name, row in keys.items() if row.waiting} == waiting, "waiting jobs of keys differ")
    _check({name: row.queued for name, row in keys.items()} == {name: queued[name] for name in keys}, "costs differ")
    for family in state.limits.families.values():
        rows = family.keys.values()
        sums = (
            sum(row.running for row in rows),
            sum(row.waiting for row in rows),
            sum(bool(row.waiters) for row in rows),
        )
        _check((family.running, family.waiting, family.parked) == sums, f"the sums of {family.name!r} do not add up")
        _check(list(family.names) == sorted(family.keys), f"the keys of {family.name!r} are out of order")
    _check(all(row.used for row in keys.values()), "a key is kept of which nothing is known")
    overrides = sum(row.override is not None for row in keys.values())
    _check(state.limits.overrides == overrides, "overrides do not add up")
    promised: Counter[tuple[LimitKey, str]] = Counter()
    for line in state.lines:
        if type(line) is not BoundLine:
            continue
        if line.promise is not None:
            _check(line.gate is None or line.gate.reason is Reason.PAUSED, "a parked line holds a promise")
            promised[line.promise[0], line.type] += line.promise[1]
        _check((line.gate is LIMITED) == (line.parked is not None), "a line is parked nowhere")
    for row in keys.values():
        for name, entries in (row.waiters or {}).items():
            _check_waiters(state, row, name, entries, promised[row, name])


def _check_waiters(state: State, row: LimitKey, name: str, entries: Any, promised: int) -> None:
    lines = [line for line in state.lines.lines_of(name) if type(line) is BoundLine and line.parked is row]
    _check(
        list(entries) == sorted(line.filed for line in lines if line.filed),
        f"who waits for {row.key!r} is out of order",
    )
    _check((row.promised or {}).get(name, 0) == promised, f"the promises of {row.key!r} do not add up")
    if state.lines.gates.shutting(name) is None and not state.lines.parking.is_stirred(row):
        now_ms, cost = state.lines.parking.now_ms, state.lines.parking.first_waiting(row, name)[2].cost_at(row)
        paid_ns = row.paid_after(promised, now_ms) if promised else 0
        free = row.opens(cost, now_ms, promised, paid_ns) == OPEN
        _check(not free, f"a line waits for {row.key!r} of the limit {row.name!r}, which has room for it")


def _check_schedules(state: State) -> None:
    fresh = Schedules()
    tally = Tally()
    for schedule in state.schedules.by_id.values():
        fresh.file(schedule, waits=is_live(state, schedule.last_job))
        _check(schedule.number < state.next_number, f"the schedule {schedule.id!r} is from the future")
        _check(schedule.last_job < state.next_number, f"the last job of {schedule.id!r} is from the future")
        told = schedule.tally
        _check(not told.fired or schedule.last_job > 0, f"the schedule {schedule.id!r} fired and made no job")
        tally = Tally(*map(add, astuple(tally), astuple(told)))
    _check(list(fresh.due) == list(state.schedules.due), "schedules and what is due for them differ")
    _check(fresh.next_ms() == state.schedules.next_ms(), "schedules and when they are next due differ")
    _check(fresh.paused == state.schedules.paused, "paused schedules do not add up")
    _check(fresh.bytes == state.schedules.bytes, "the templates' bytes do not add up")
    less = zip(astuple(tally), astuple(state.schedules.tally), strict=True)
    _check(all(one <= all_ for one, all_ in less), "a schedule did more than all of them")


def check_derived(state: State) -> None:
    """Whatever follows from the jobs is what they give when nothing else is known of them. Costs as much as loading
    them."""
    fresh = State()
    for name in state.lines.gates.paused:
        fresh.lines.pause(name)
    for stored in state.limits.stored():
        fresh.limits.put(stored.limit)
        for one in stored.overrides:
            fresh.limits.set_override(stored.limit.name, one.key, one.override)
    for meter in state.limits.meters():
        fresh.limits.set_meter(meter)
    fresh.lines.parking.now_ms = state.lines.parking.now_ms
    for graph in state.graphs.by_number.values():
        fresh.graphs.add(graph.workflow)
    for batch in state.batches.copies():
        file_batch(fresh, batch)
    for job in state.jobs.values():
        add_job(fresh, job_of(image_of(job)))
    for number, begun_at in state.begun.items():  # what workers said, and no job tells
        count_from(fresh, fresh.jobs[number], begun_at)
    try:
        kept = derived(state)
        for name, recomputed in derived(fresh).items():
            _check(kept[name] == recomputed, f"{name}: kept {kept[name]!r}, the jobs alone give {recomputed!r}")
    finally:
        fresh.take_apart()


def derived(state: State) -> dict[str, Any]:
    """All that is kept of a state beside its jobs and follows from them, in plain values."""
    lines = state.lines
    fair = state.fairness.waiting > 0  # whose turn it is follows from what was claimed
    return {
        "rosters": [[job.number for job in roster] for roster in state.rosters],
        "counts by type": state.type_counts,
        "the order of claims": [job.number for job in lines.in_order() if not job.spec.limits and not fair],
        "lines": {
            (line.type, line.key): (
                lines.gates.shutting(line.type) if line.gate is LIMITED else line.gate,
                [job.number for job in line],
            )
            for line in lines
        },
        "jobs that could be claimed, by type": {
            line.type: lines.count(line.type) for line in lines if not lines.bound_among((line.type,))
        },
        "slots": {
            (name, key): (row.running, row.waiting, row.arrival_ns, row.held_until)
            for name, family in state.limits.families.items()
            for key, row in family.keys.items()
        },
        "fairness": {row.key: (row.waiting, row.running) for row in state.fairness.keys.values()},
        "dead groups": {key: [job.number for job in group] for key, group in state.dead_groups.items()},
        "claim keys": {key: sorted(numbers) for key, numbers in state.claims.items()},
        "deadlines": [
            list(table)
            for table in (
                state.scheduled, state.timeouts, state.retention, state.dead_retention, state.promised_retention,
                state.graphs.pinned, state.batches.idle, state.batches.kept,
            )
        ],
        "aliases": state.aliases,
        "unique keys": {name: job.number for name, job in state.uniques.holders.items()},
        "sequences": {
            key: [sequence.head and sequence.head.number, *(job.number for job in sequence.waiting)]
            for key, sequence in state.sequences.by_key.items()
        },
        "successors": {name: job.number for name, job in state.uniques.successors.items()},
        "dependents": {number: sorted(others) for number, others in state.graphs.dependents.items()},
        "fates": state.graphs.fates,
        "members": {
            number: [each for each in state.batches.members(number) if each in state.jobs]
            for number in state.batches.by_number
        },
        "batches": (state.batches.children, sorted(state.batches.due), sorted(state.batches.cancelling)),
        "nodes": {number: (graph.nodes, graph.counts) for number, graph in state.graphs.by_number.items()},
        "sizes": (
            state.live_bytes, state.finished_bytes, state.dead_bytes, state.promised_bytes, state.promised_jobs,
            state.reserved_jobs,
            state.held_dead, state.held_dead_bytes, state.graphs.pinned_bytes,
        ),
    }  # fmt: skip


def _leases(state: State) -> list[Lease]:
    return [job.lease for job in state.rosters[Status.IN_PROGRESS] if job.lease]


def _count(state: State, sizes: Counter[str], job: Job) -> None:
    if not job.status.finished:
        sizes["live"] += job.spec.size
        sizes["history"] += job.history_bytes
    elif job.status is Status.DEAD and held_when_dead(job.spec):
        sizes["held"] += 1
        sizes["held bytes"] += job.size
    elif state.graphs.pins(job):
        sizes["pinned"] += job.size
    elif job.spec.retention_ms:
        sizes["promised"] += job.size
    elif job.status is Status.DEAD:
        sizes["dead"] += job.size
    else:
        sizes["finished"] += job.size


def _check(holds: bool, problem: str) -> None:
    if not holds:
        raise InvariantBroken(problem)
