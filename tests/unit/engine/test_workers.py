"""What is known of a worker: all that its lanes say together, for as long as that counts."""

import pytest

from osqueue_service.engine.workers import IDLE_MS_MAX, LATELY_MS, WORKER_LANES_MAX, WorkerTable
from tests.core import Core


def table(limit: int = 100, types_max: int = 1_000) -> WorkerTable:
    return WorkerTable(limit, types_max)


def serving(workers: WorkerTable, type_name: str, now_ms: int) -> list[str]:
    return sorted(worker.id for worker in workers.serving(type_name, now_ms - LATELY_MS))


def known(workers: WorkerTable, worker_id: str):
    worker = workers.get(worker_id)
    assert worker is not None
    return worker


def test_a_claim_for_some_types_leaves_what_other_claims_said():
    workers = table()
    workers.claims("w", 1, ["slow"])
    workers.claims("w", 2, ["quick", "quicker"])
    assert serving(workers, "slow", 2) == serving(workers, "quicker", 2) == ["w"]
    assert serving(workers, "other", 2) == []
    assert set(known(workers, "w").types) == {"slow", "quick", "quicker"}


def test_a_claim_for_any_type_takes_them_all():
    workers = table()
    workers.claims("w", 1, ["slow"])
    workers.claims("w", 2, [])
    assert serving(workers, "other", 2) == ["w"]
    assert known(workers, "w").types == ()


def test_a_claim_counts_for_two_minutes():
    workers = table()
    workers.claims("w", 0, ["slow"])
    workers.claims("w", LATELY_MS, ["quick"])
    assert serving(workers, "slow", LATELY_MS) == ["w"]
    assert serving(workers, "slow", LATELY_MS + 1) == []
    assert serving(workers, "quick", LATELY_MS + 1) == ["w"]


def test_a_stream_counts_while_it_is_open_and_its_slots_with_those_of_others():
    workers = table()
    first = workers.opened("w", 0, ["mail"], "1.0", 10)
    second = workers.opened("w", 1, ["fax"], "", 5)
    worker = known(workers, "w")
    assert (worker.slots, worker.version, set(worker.types)) == (15, "1.0", {"mail", "fax"})
    assert serving(workers, "mail", 10 * LATELY_MS) == ["w"]
    workers.closed("w", first, 10 * LATELY_MS)
    assert (worker.slots, len(worker.streams)) == (5, 1)
    workers.closed("w", second, 10 * LATELY_MS)
    assert serving(workers, "mail", 11 * LATELY_MS) == ["w"]
    assert serving(workers, "mail", 11 * LATELY_MS + 1) == []


def test_a_worker_drains_when_all_its_streams_do_and_takes_nothing_then():
    workers = table()
    first, second = (workers.opened("w", 0, [name], "", 1) for name in ("mail", "fax"))
    first.draining = True
    assert not known(workers, "w").draining
    assert serving(workers, "fax", 1) == ["w"] and serving(workers, "mail", 1) == []
    second.draining = True
    assert known(workers, "w").draining
    assert serving(workers, "fax", 1) == []
    workers.closed("w", first, 1)
    workers.closed("w", second, 1)
    assert serving(workers, "mail", 1) == serving(workers, "fax", 1) == []
    assert not known(workers, "w").draining


@pytest.mark.parametrize("more", [0, 1])
def test_a_worker_is_remembered_for_so_many_sets_of_types(more):
    workers = table()
    for number in range(WORKER_LANES_MAX + more):
        workers.claims("w", number, [f"type-{number}"])
    assert serving(workers, "type-0", 1) == (["w"] if not more else [])
    assert len(known(workers, "w").claims) == WORKER_LANES_MAX
    assert serving(workers, f"type-{WORKER_LANES_MAX + more - 1}", 1) == ["w"]


@pytest.mark.parametrize("more", [0, 1])
def test_so_many_names_of_types_are_remembered(more):
    workers = table(types_max=4)
    workers.claims("first", 1, ["a", "b"])
    workers.claims("second", 2, ["c"])
    workers.claims("third", 3, [])
    if more:
        workers.claims("third", 4, ["d"])
    assert serving(workers, "a", 5) == (["first", "third"] if not more else ["third"])
    assert len(workers) == 3
    assert serving(workers, "c", 5) == ["second", "third"]


def test_what_a_forgotten_worker_said_makes_room():
    workers = table(limit=1, types_max=2)
    for number in range(10):
        workers.claims(f"w{number}", number, ["a", "b"])
    assert [worker.id for worker in workers] == ["w9"] and workers.forgotten == 9
    assert serving(workers, "b", 10) == ["w9"]


def test_a_worker_with_an_open_stream_is_not_forgotten():
    workers = table(limit=2)
    lane = workers.opened("streaming", 0, ["mail"], "", 1)
    for number in range(5):
        workers.claims(f"w{number}", 10 * IDLE_MS_MAX, ["mail"])
    assert {worker.id for worker in workers} == {"streaming", "w4"}
    workers.closed("streaming", lane, 10 * IDLE_MS_MAX)
    assert {worker.id for worker in workers} == {"streaming", "w4"}


def test_what_a_worker_runs_it_takes_however_long_ago_it_claimed_that():
    core = Core()
    core.submit("slow")
    core.submit("slow")
    jobs = list(core.state.jobs.values())
    workers = table()
    for job in jobs:
        workers.holds("w", job, 0)
        workers.holds("w", job, 0)  # said by every heartbeat
    now = 10 * LATELY_MS
    workers.claims("w", now, ["quick"])
    worker = known(workers, "w")
    assert worker.leases == 2 and set(worker.types) == {"slow", "quick"}
    assert serving(workers, "slow", now) == ["w"] and worker.is_busy("slow", now)
    assert not worker.is_busy("quick", now)
    worker.let_go(jobs[0])
    worker.let_go(jobs[0])
    assert serving(workers, "slow", now) == ["w"]
    worker.let_go(jobs[1])
    assert serving(workers, "slow", now) == [] and worker.leases == 0


def test_a_worker_that_has_said_nothing_yet_takes_what_it_runs_and_nothing_else():
    """After a takeover leases are known, and what their workers claim is not."""
    core = Core()
    core.submit("slow")
    workers = table()
    workers.holds("w", next(iter(core.state.jobs.values())), 0)
    assert serving(workers, "slow", 1) == ["w"] and serving(workers, "other", 1) == []
    assert known(workers, "w").types == ("slow",)
