"""Limits: how many run at a time, and how many start in a period."""

import random

import pytest

from osqueue_service.errors import InvalidRequest, QueueFull
from osqueue_service.limits import Limits
from osqueue_service.state import image
from osqueue_service.state.commands import (
    Complete,
    CompleteItem,
    Fail,
    FailItem,
    Granted,
    LimitReport,
    Release,
    ReleaseItem,
)
from osqueue_service.state.invariants import check, check_derived
from osqueue_service.state.model import Status
from osqueue_service.state.named_limits import AtLimit, Rate
from osqueue_service.state.queries.filters import Filter
from osqueue_service.state.state import State
from tests.core import Core, spec, under

MINUTE = 60_000


def limited(*uses, type="", **fields):
    return {"more": under(*uses), "type": type, **fields}


def core_with(name="api", max_running=-1, rate=None, **fields) -> Core:
    core = Core()
    core.put_limit(name, max_running, rate, per_key=True, **fields)
    return core


# --- how many run at a time --------------------------------------------------------------------------------------


def test_no_more_of_a_key_run_than_may_and_other_keys_are_not_held_up():
    core = core_with(max_running=2)
    for _ in range(4):
        core.submit(**limited(("api", "a")))
    other = core.submit(**limited(("api", "b")))
    first = core.claim(max_jobs=10)
    assert len(first) == 3 and first[-1].job_id == other
    assert core.claim() == []
    core.complete(first[0])
    assert len(core.claim(max_jobs=10)) == 1


def test_a_slot_is_free_again_however_the_attempt_ends():
    core = core_with(max_running=1)
    for _ in range(6):
        core.submit(**limited(("api", "a")), max_attempts=1)
    core.complete(core.claim_one())
    core.fail(core.claim_one())
    core.expire(core.claim_one())
    released = core.claim_one()
    core.release(released)
    again = core.claim_one()
    assert again.job_id == released.job_id
    core.purge(again.job_id)
    core.claim_one()
    assert core.claim() == []


def test_a_slot_is_not_held_while_the_job_backs_off():
    core = core_with(max_running=1)
    core.submit(**limited(("api", "a")))
    core.submit(**limited(("api", "a")))
    core.fail(core.claim_one(), retry_delay_ms=5_000)
    core.claim_one()
    core.advance(5_000)
    core.sweep()
    assert core.claim() == []


def test_costs_are_what_counts():
    core = core_with(max_running=10)
    core.submit(**limited(("api", "a", 6)))
    core.submit(**limited(("api", "a", 5)))
    core.submit(**limited(("api", "a", 1)))
    granted = core.claim(max_jobs=3)
    assert len(granted) == 1, "the small one does not overtake the one that waits for room"
    core.complete(granted[0])
    assert len(core.claim(max_jobs=3)) == 2


def test_all_limits_of_a_job_are_taken_together_or_none():
    core = core_with("api", max_running=1)
    core.put_limit("db", 1, per_key=True)
    both = core.submit(**limited(("api", "a"), ("db", "x")))
    core.submit(**limited(("db", "x")))
    holder = core.claim_one()
    assert holder.job_id == both
    core.submit(**limited(("api", "b"), ("db", "x")))
    core.submit(**limited(("api", "b")))
    (granted,) = core.claim(max_jobs=5)
    assert granted.spec.limits[0].key == "b", "a job that waits for db does not hold a slot of api"


def test_whoever_waits_elsewhere_passes_the_slot_on():
    core = core_with("api", max_running=1)
    core.put_limit("db", 1)
    core.submit(**limited(("api", "a")))
    api = core.claim_one()
    core.submit(**limited(("db", "")))
    db = core.claim_one()
    core.submit(**limited(("api", "a"), ("db", "")))
    behind = core.submit(**limited(("api", "a")))
    assert core.claim() == []
    core.complete(api)
    (granted,) = core.claim(max_jobs=5)
    assert granted.job_id == behind
    core.complete(db)
    assert core.claim() == []
    core.complete(granted)
    core.claim_one()


def test_within_a_key_priority_goes_first_and_then_the_order_of_submission():
    core = core_with(max_running=1)
    ids = [core.submit(**limited(("api", "a")), priority=priority) for priority in (0, 5, 5, -1)]
    order = []
    while granted := core.claim():
        order.append(granted[0].job_id)
        core.complete(granted[0])
    assert order == [ids[1], ids[2], ids[0], ids[3]]


def test_a_type_that_nobody_takes_does_not_keep_a_slot_from_the_others():
    core = core_with(max_running=1)
    core.submit(**limited(("api", "a"), type="mail"))
    held = core.claim_one()
    core.submit(**limited(("api", "a"), type="nobody"))
    core.submit(**limited(("api", "a"), type="mail"))
    assert core.claim(types=["mail"]) == core.claim(types=["nobody"]) == []
    core.complete(held)
    assert len(core.claim(types=["mail"])) == 1
    assert core.claim(types=["nobody"]) == []


def test_a_paused_type_waits_and_does_not_lose_its_turn():
    core = core_with(max_running=1)
    for name in ("a", "a", "b"):
        core.submit(**limited(("api", "k"), type=name))
    held = core.claim_one(types=["b"])
    assert core.claim() == []
    core.pause("a")
    core.complete(held)
    assert core.claim() == []
    core.resume("a")
    assert core.claim_one().spec.type == "a"
    assert core.claim() == []


def test_a_cancelled_job_makes_room_for_those_behind_it():
    core = core_with(max_running=3)
    core.submit(**limited(("api", "a", 2)))
    core.claim_one()
    large = core.submit(**limited(("api", "a", 2)))
    core.submit(**limited(("api", "a")))
    assert core.claim() == []
    core.cancel(large)
    core.claim_one()


# --- changing the number -----------------------------------------------------------------------------------------


def test_lowering_lets_what_runs_end_and_raising_wakes_as_many_as_fit():
    core = core_with(max_running=4)
    for _ in range(10):
        core.submit(**limited(("api", "a")))
    running = core.claim(max_jobs=10)
    core.put_limit("api", 2, per_key=True)
    core.complete(running[0])
    core.complete(running[1])
    assert core.claim() == []
    core.complete(running[2])
    assert len(core.claim(max_jobs=10)) == 1
    core.put_limit("api", 5, per_key=True)
    assert len(core.claim(max_jobs=10)) == 3


def test_0_holds_the_key_until_it_is_raised():
    core = core_with(max_running=0)
    core.submit(**limited(("api", "a")))
    assert core.claim() == []
    core.put_limit("api", 1, per_key=True)
    core.claim_one()


def test_after_a_lowering_a_job_that_costs_more_runs_alone():
    core = core_with(max_running=10)
    core.submit(**limited(("api", "a", 8)))
    core.submit(**limited(("api", "a", 1)))
    core.put_limit("api", 3, per_key=True)
    (large,) = core.claim(max_jobs=2)
    core.complete(large)
    core.claim_one()


def test_an_override_is_for_one_key_and_ends():
    core = core_with(max_running=1)
    for key in "aab":
        core.submit(**limited(("api", key)))
    core.override("api", "a", 2, until=core.now_ms + MINUTE)
    assert len(core.claim(max_jobs=5)) == 3
    core.submit(**limited(("api", "a")))
    core.override("api", "a", 3, until=core.now_ms + MINUTE)
    core.claim_one()
    core.submit(**limited(("api", "a")))
    core.override("api", "a", 4, until=core.now_ms + MINUTE)
    core.advance(MINUTE)
    core.sweep()
    assert core.claim() == [], "the override ended before anybody claimed"
    assert core.state.limits.known("api", "a").max_running == 1


def test_taking_an_override_back():
    core = core_with(max_running=1)
    core.override("api", "a", 0)
    core.submit(**limited(("api", "a")))
    assert core.claim() == []
    core.take_back("api", "a")
    core.claim_one()


def test_a_limit_that_jobs_name_is_deleted_only_on_demand_and_then_holds_nobody():
    core = core_with(max_running=1)
    for _ in range(3):
        core.submit(**limited(("api", "a")))
    running = core.claim_one()
    with pytest.raises(InvalidRequest, match="3 live jobs are under 'api'"):
        core.delete_limit("api")
    assert core.delete_limit("api", detach=True) == 3
    assert len(core.claim(max_jobs=5)) == 2
    core.put_limit("api", 2, per_key=True)
    core.submit(type="new", more=under(("api", "a")))
    core.complete(running)
    assert core.claim() == [], "what runs is counted again when the limit is back"


# --- the pace of starts ------------------------------------------------------------------------------------------


def test_starts_in_a_window_are_at_most_the_burst_and_the_rate():
    core = core_with(rate=Rate(10, 1_000, 5))
    for _ in range(100):
        core.submit(**limited(("api", "a")))
    starts = []
    for _ in range(300):
        starts += [core.now_ms] * len(core.claim(max_jobs=100))
        core.advance(10)
    assert starts[:5] == [starts[0]] * 5
    assert len(starts) == 5 + 29
    for first in starts:
        assert sum(first <= at < first + 1_000 for at in starts) <= 5 + 10


def test_the_rate_survives_a_takeover():
    core = core_with(rate=Rate(1, MINUTE, 1))
    core.submit(**limited(("api", "a")))
    core.submit(**limited(("api", "a")))
    core.claim_one()
    for state in (core.rebuilt(), core.rebuilt(len(core.log), image.encode(core.state))):
        key = state.limits.known("api", "a")
        assert key.arrival_ns == core.state.limits.known("api", "a").arrival_ns > 0
    core.state = core.rebuilt()
    assert core.claim() == []
    core.advance(MINUTE)
    core.claim_one()


def test_what_a_rate_forgets_says_nothing_any_more():
    core = core_with(rate=Rate(60, MINUTE, 1))
    core.submit(**limited(("api", "a")))
    core.complete(core.claim_one())
    assert core.state.limits.next_lapse_ms() == core.now_ms + 1_000
    core.advance(1_000)
    core.sweep()
    assert core.state.limits.known("api", "a") is None
    assert core.state.limits.next_lapse_ms() is None


def test_resetting_a_key_forgets_what_was_started():
    core = core_with(rate=Rate(1, MINUTE, 1))
    core.submit(**limited(("api", "a")))
    core.submit(**limited(("api", "a")))
    core.claim_one()
    assert core.claim() == []
    core.reset_key("api", "a")
    core.claim_one()


def test_a_claim_takes_no_more_than_the_burst_at_once():
    core = core_with(rate=Rate(100, MINUTE, 3))
    for key in "aab":
        core.submit(**limited(("api", key, 2)))
    assert [one.spec.limits[0].key for one in core.claim(max_jobs=10)] == ["a", "b"]


# --- which limits a job is under ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uses, problem",
    [
        ([("none", "")], r"limits\[0\].limit: there is no limit 'none'"),
        ([("api", "a"), ("all", "a")], r"limits\[1\].key: the limit 'all' has no keys"),
        ([("api", "a", 4)], r"limits\[0\].cost: it is 4, and 'api' lets 3 run at a time: the job would never run"),
        ([("pace", "a", 9)], r"limits\[0\].cost: it is 9, and 'pace' lets 5 start at once"),
    ],
)
def test_a_job_that_could_never_run_is_refused(uses, problem):
    core = core_with(max_running=3)
    core.put_limit("all", 3)
    core.put_limit("pace", -1, Rate(10, 1_000, 5), per_key=True)
    before = image.encode(core.state)
    with pytest.raises(InvalidRequest, match=problem):
        core.submit(**limited(*uses))
    assert image.encode(core.state) == before


def test_a_limit_can_go_with_types_and_take_its_key_from_metadata():
    core = core_with("org", max_running=1, types={"mail": "customer"})
    core.submit("mail", metadata={"customer": "x"})
    core.submit("mail", metadata={"customer": "x"})
    core.submit("mail")
    core.submit("other", metadata={"customer": "x"})
    assert [one.spec.limits[0].key for one in core.claim(types=["mail"], max_jobs=5)] == ["x", ""]
    assert core.claim_one().spec.limits == ()


def test_a_job_may_name_such_a_limit_itself_and_be_under_four_in_all():
    core = core_with("org", max_running=1, types={"mail": "customer"})
    named = core.submit(**limited(("org", "y", 1), type="mail"))
    assert [use.key for use in core.job(named).spec.limits] == ["y"]
    for name in "abcd":
        core.put_limit(name, 1)
    with pytest.raises(InvalidRequest, match="would be under 5 limits"):
        core.submit(**limited(*((name, "") for name in "abcd"), type="mail"))


def test_what_keys_are_taken_from_never_changes():
    core = core_with("org", max_running=1, types={"mail": "customer"})
    with pytest.raises(InvalidRequest, match="per_key"):
        core.put_limit("org", 1)
    with pytest.raises(InvalidRequest, match="types"):
        core.put_limit("org", 1, per_key=True, types={"mail": "other"})
    core.put_limit("org", 1, per_key=True, types={"mail": "customer", "sms": "number"})


def test_no_more_wait_for_a_key_than_may():
    core = core_with(max_running=1, max_waiting=2)
    core.submit(**limited(("api", "a")))
    running = core.claim_one()
    core.submit(**limited(("api", "a")))
    core.submit(**limited(("api", "a")), run_at=core.now_ms + MINUTE)
    with pytest.raises(QueueFull, match="max_waiting_per_key"):
        core.submit(**limited(("api", "a")))
    core.submit(**limited(("api", "b")))
    core.complete(running)
    core.claim_one()
    two = [spec(**limited(("api", "a"))) for _ in range(2)]
    with pytest.raises(QueueFull):
        core.submit_specs(two)
    refused = core.submit_specs(two, atomic=False)
    assert [isinstance(one, QueueFull) for one in refused] == [False, True]


def test_named_limits_and_overrides_are_bounded():
    core = Core(Limits(named_limits=1, limit_overrides=1))
    core.put_limit("a", 1, per_key=True)
    with pytest.raises(QueueFull, match="named_limits"):
        core.put_limit("b", 1)
    core.override("a", "x", 2)
    core.override("a", "x", 3)
    with pytest.raises(QueueFull, match="limit_overrides"):
        core.override("a", "y", 2)
    core.take_back("a", "x")
    core.override("a", "y", 2)


# --- what follows from it all ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_nothing_is_over_admitted_lost_or_kept(seed):
    chance = random.Random(seed)
    core = Core()
    core.put_limit("a", 3, per_key=True)
    core.put_limit("b", 4, Rate(20, 1_000, 4))
    held = []
    for _ in range(150):
        match chance.randrange(8):
            case 0 | 1:
                both = [("a", chance.choice("xyz"), chance.randint(1, 3)), ("b", "", chance.randint(1, 2))]
                uses = chance.sample(both, chance.randint(0, 2))
                core.submit(chance.choice("pq"), priority=chance.randint(0, 1), more=under(*uses) if uses else None)
            case 2 | 3:
                held += core.claim(types=chance.choice([(), ("p",), ("q",)]), max_jobs=chance.randint(1, 4))
            case 4 | 5 if held:
                job = held.pop(chance.randrange(len(held)))
                chance.choice([core.complete, core.fail, core.release, lambda one: core.expire(one)])(job)
            case 6:
                core.advance(chance.randint(1, 300))
                core.put_limit("a", chance.randint(3, 5), per_key=True)
            case _:
                waiting = [job for job in core.state.jobs.values() if job.status is Status.UNCLAIMED]
                if waiting:
                    core.cancel(core.state.job_id(chance.choice(waiting)))
        running = {
            (name, key.key): key.running for name, f in core.state.limits.families.items() for key in f.keys.values()
        }
        assert all(count <= (5 if name == "a" else 4) for (name, _), count in running.items())
    loaded = State()
    image.load(loaded, image.encode(core.state))
    for state in (core.rebuilt(), loaded):
        check(state)
        check_derived(state)
        assert image.encode(state) == image.encode(core.state)
    while held or any(job.status is Status.UNCLAIMED for job in core.state.jobs.values()):
        core.advance(1_000)
        core.sweep()
        for job in held:
            core.complete(job)
        held = core.claim(max_jobs=50)
        assert held or not any(job.status is Status.UNCLAIMED for job in core.state.jobs.values()), (
            "a job waits for ever"
        )


# --- what has no room may have to go -----------------------------------------------------------------------------


def test_the_newest_is_cancelled_where_the_limit_says_so():
    core = core_with(max_running=2, at_limit=AtLimit.CANCEL_NEWEST)
    ids = [core.submit(**limited(("api", "a"))) for _ in range(3)]
    assert [core.status(one) for one in ids] == [Status.UNCLAIMED, Status.UNCLAIMED, Status.CANCELLED]
    running = core.claim(max_jobs=5)
    late = core.submit(**limited(("api", "a")))
    assert core.status(late) is Status.CANCELLED
    core.complete(running[0])
    assert core.status(core.submit(**limited(("api", "a")))) is Status.UNCLAIMED
    assert core.status(core.submit(**limited(("api", "b")))) is Status.UNCLAIMED


def test_a_cancelled_newest_leaves_its_idempotency_key_free():
    core = core_with(max_running=1, at_limit=AtLimit.CANCEL_NEWEST)
    core.submit(**limited(("api", "a")))
    running = core.claim_one()
    first = core.submit(**limited(("api", "a")), idempotency_key="k")
    core.complete(running)
    second = core.submit(**limited(("api", "a")), idempotency_key="k")
    assert first != second and core.status(second) is Status.UNCLAIMED
    assert core.submit(**limited(("api", "a")), idempotency_key="k") == second


def test_a_delayed_one_has_to_go_when_it_is_due_and_a_retry_never():
    core = core_with(max_running=1, at_limit=AtLimit.CANCEL_NEWEST)
    core.submit(**limited(("api", "a")))
    running = core.claim_one()
    delayed = core.submit(**limited(("api", "a")), run_at=core.now_ms + MINUTE)
    other = core.submit(run_at=core.now_ms + MINUTE)
    assert core.status(delayed) is Status.SCHEDULED
    core.fail(running, retry_delay_ms=MINUTE)
    core.submit(**limited(("api", "a")))
    core.claim_one()
    core.advance(MINUTE)
    core.sweep()
    assert core.status(delayed) is Status.CANCELLED
    assert core.status(other) is core.status(running.job_id) is Status.UNCLAIMED


# --- what attempts say of their limits -------------------------------------------------------------------------------


def tokens_of(core: Core, key: str = "a") -> int:
    known = core.state.limits.known("api", key)
    return 100 if known is None else known.tokens(core.now_ms)


def metered_job(cost: int = 10, **fields) -> tuple[Core, Granted]:
    core = core_with(rate=Rate(100, MINUTE, 100), **fields)
    core.submit(**limited(("api", "a", cost)))
    return core, core.claim_one()


@pytest.mark.parametrize("used, left", [(10, 90), (4, 96), (0, 100), (60, 40), (100, 0), (150, 0)])
def test_what_was_really_used_counts_instead_of_the_cost(used, left):
    core, granted = metered_job()
    assert tokens_of(core) == 90
    report = LimitReport((("api", used),))
    core.do(Complete([CompleteItem(granted.job_id, "w", granted.token, report=report)]))
    assert tokens_of(core) == left


def test_a_correction_goes_no_further_ahead_than_the_limit_says():
    core, granted = metered_job(max_debt_ms=90_000)
    report = LimitReport((("api", 10_000),))
    core.do(Fail([FailItem(granted.job_id, "w", granted.token, report=report)]))
    assert core.claim() == []
    core.advance(30_000 + 5_999)
    assert core.claim() == [], "it costs 10, and 90 s ahead are 150"
    core.advance(1)
    core.claim_one()


def test_what_is_given_back_gets_its_cost_back_and_an_expired_lease_does_not():
    core, granted = metered_job()
    core.release(granted)
    assert tokens_of(core) == 100
    core.expire(core.claim_one())
    assert tokens_of(core) == 90


def test_a_refusal_of_the_other_side_holds_the_whole_key_and_counts_as_no_attempt():
    core, granted = metered_job()
    core.submit(**limited(("api", "a")))
    core.submit(**limited(("api", "b")))
    report = LimitReport(backoff=(("api", 30_000),))
    core.do(Release([ReleaseItem(granted.job_id, "w", granted.token, report)]))
    assert core.job(granted.job_id).attempts == 0
    assert [one.spec.limits[0].key for one in core.claim(max_jobs=5)] == ["b"]
    assert core.state.lines.parking.next_ms() == core.now_ms + 30_000
    core.state = core.rebuilt()
    core.advance(29_999)
    assert core.claim() == []
    core.advance(1)
    assert len(core.claim(max_jobs=5)) == 2


def test_an_attempt_speaks_of_its_own_limits_only():
    core, granted = metered_job()
    before = image.encode(core.state)
    for report in (LimitReport((("other", 1),)), LimitReport(backoff=(("other", 1),))):
        (answer,) = core.do(Complete([CompleteItem(granted.job_id, "w", granted.token, report=report)]))
        assert isinstance(answer, InvalidRequest) and "is not under the limit 'other'" in answer.message
    assert image.encode(core.state) == before
    core.complete(granted)


def test_a_report_that_is_repeated_counts_once():
    core, granted = metered_job()
    item = CompleteItem(granted.job_id, "w", granted.token, report=LimitReport((("api", 30),)))
    core.do(Complete([item, item]))
    core.do(Complete([item]))
    assert tokens_of(core) == 70


def test_jobs_are_found_by_their_limit_and_its_key():
    core = Core()
    for name in ("api", "db"):
        core.put_limit(name, 5, per_key=True)
    first = core.submit(**limited(("api", "a"), ("db", "b")))
    second = core.submit(**limited(("api", "b")))
    core.submit()

    def found(**terms) -> list[str]:
        wanted = Filter(tuple(Status), **terms)
        return [core.state.job_id(job) for job in wanted.candidates(core.state, 0) if wanted.matches(job)]

    assert found(limit_name="api") == [first, second]
    assert found(limit_key="b") == [first, second]
    assert found(limit_name="api", limit_key="b") == [second], "one limit of the job has both"
    assert found(limit_name="api", limit_key="c") == []
