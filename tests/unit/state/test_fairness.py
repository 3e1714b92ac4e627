"""Fair turns between fairness keys."""

import random
from collections import Counter

import pytest

from osqueue_service.state.commands import Granted
from osqueue_service.state.fairness import TURN, Fairness, Level, Share
from osqueue_service.state.model import LimitUse, MoreOfSpec
from tests.core import Core, spec


def keyed(key: str, *uses: tuple[str, str], type: str = "", **fields):
    return spec(type, more=MoreOfSpec(fairness_key=key, limits=tuple(LimitUse(*use) for use in uses)), **fields)


def key_of(core: Core, granted: Granted) -> str:
    return core.job(granted.job_id).spec.fairness_key


def claimed(core: Core, count: int, *, at_once: int = 1, **fields) -> list[str]:
    """The keys of the next jobs."""
    keys: list[str] = []
    while len(keys) < count:
        some = core.claim(max_jobs=min(at_once, count - len(keys)), **fields)
        keys += [key_of(core, granted) for granted in some]
        if not some:
            break
    return keys


@pytest.mark.parametrize("at_once", [1, 3, 20])
def test_keys_have_turns_however_many_jobs_they_have_and_however_many_are_claimed_at_once(at_once: int) -> None:
    core = Core()
    core.submit_specs([keyed("heavy") for _ in range(30)])
    core.submit_specs([keyed("a"), keyed("a"), keyed("b")])
    assert claimed(core, 6, at_once=at_once) == ["heavy", "a", "b", "heavy", "a", "heavy"]


def test_jobs_of_one_key_are_claimed_in_their_order() -> None:
    core = Core()
    ids = [answer.job_id for answer in core.submit_specs([keyed("ab"[number % 2]) for number in range(10)])]
    assert [granted.job_id for granted in core.claim(max_jobs=10)] == ids


def test_without_keys_nothing_is_counted() -> None:
    core = Core()
    core.submit_specs([spec() for _ in range(3)])
    core.claim(max_jobs=2)
    assert not core.state.fairness.levels and not core.state.fairness.keys


def test_jobs_without_a_key_have_turns_like_one_of_them() -> None:
    core = Core()
    core.submit_specs([spec() for _ in range(5)])
    core.submit_specs([keyed("a") for _ in range(5)])
    assert claimed(core, 6) == ["", "a", "", "a", "", "a"]


def test_a_higher_priority_goes_before_any_turn() -> None:
    core = Core()
    core.submit_specs([keyed("a", priority=1) for _ in range(3)])
    core.submit_specs([keyed("b") for _ in range(2)])
    assert claimed(core, 5) == ["a", "a", "a", "b", "b"]


def test_a_key_has_turns_whatever_the_types_of_its_jobs() -> None:
    core = Core()
    for number in range(12):
        core.submit_specs([keyed("many", type=f"t{number % 6}")])
    core.submit_specs([keyed("one", type="t0") for _ in range(6)])
    assert Counter(claimed(core, 8)) == {"many": 4, "one": 4}


def test_a_key_has_turns_whatever_the_limits_of_its_jobs() -> None:
    core = Core()
    core.put_limit("api", 1, per_key=True)
    for number in range(12):
        core.submit_specs([keyed("many", ("api", f"k{number}"))])
    core.submit_specs([keyed("one") for _ in range(6)])
    assert Counter(claimed(core, 8, at_once=4)) == {"many": 4, "one": 4}


def test_turns_taken_by_workers_of_one_type_count_for_the_other() -> None:
    core = Core()
    core.submit_specs([keyed(key, type=type) for key in "ab" for type in "xy" for _ in range(6)])
    claimed(core, 1, types=["x"])
    assert claimed(core, 1, types=["y"]) == ["b"], "a has had its turn, at the other type"


def test_a_weight_is_how_many_turns_a_key_has_for_one_of_another() -> None:
    core = Core()
    core.weigh("a", 3_000)
    core.submit_specs([keyed(key) for key in "ab" for _ in range(40)])
    assert Counter(claimed(core, 20)) == {"a": 15, "b": 5}


def test_the_jobs_without_a_key_can_be_weighed_too() -> None:
    core = Core()
    core.weigh("", 500)
    core.submit_specs([keyed(key) for key in ("", "b") for _ in range(40)])
    assert Counter(claimed(core, 12)) == {"": 4, "b": 8}


def test_who_comes_late_does_not_make_up_for_the_time_before() -> None:
    core = Core()
    core.submit_specs([keyed("early") for _ in range(50)])
    claimed(core, 20)
    core.submit_specs([keyed("late") for _ in range(20)])
    assert Counter(claimed(core, 10)) == {"early": 5, "late": 5}


def test_who_was_held_by_a_limit_does_not_make_up_for_that_time() -> None:
    """The case in which a stalled key would take the next 22 turns."""
    core = Core()
    core.put_limit("api", 1, per_key=True)
    core.submit_specs([keyed("stalled", ("api", "a")) for _ in range(30)])
    core.submit_specs([keyed("other") for _ in range(60)])
    first = core.claim_one()
    assert key_of(core, first) == "stalled"
    assert claimed(core, 22) == ["other"] * 22
    core.override("api", "a", 100)
    assert claimed(core, 22).count("stalled") in (11, 12)


def test_who_has_nothing_for_a_moment_has_no_turn_more() -> None:
    core = Core()
    core.weigh("light", 100)
    core.submit_specs([keyed("other") for _ in range(60)])
    taken = 0
    for _ in range(40):
        if not core.state.fairness.keys.get("light") or not core.state.fairness.keys["light"].waiting:
            core.submit_specs([keyed("light")])
        taken += claimed(core, 1) == ["light"]
    assert taken in (3, 4, 5), "a tenth of the turns of the other, though it always has but one job"


def test_a_newcomer_is_served_after_one_turn_of_each_at_the_latest() -> None:
    core = Core()
    core.submit_specs([keyed("heavy") for _ in range(500)])
    core.submit_specs([keyed(f"light {number % 50}") for number in range(200)])
    claimed(core, 73, at_once=7)
    core.submit_specs([keyed("new")])
    assert "new" in claimed(core, 2 * 52, at_once=5)


def test_nothing_is_kept_of_keys_whose_jobs_have_gone() -> None:
    core = Core()
    core.submit_specs([spec() for _ in range(200)])
    for number in range(40):
        core.submit_specs([keyed(f"key {number}")])
        claimed(core, 3)
    (level,) = core.state.fairness.levels.values()
    assert len(level.shares) <= 3
    assert not core.state.fairness.keys.keys() - {f"key {number}" for number in range(40)}
    while granted := core.claim(max_jobs=50):
        for one in granted:
            core.complete(one)
    assert not core.state.fairness.levels


def test_what_runs_and_waits_of_a_key_is_known() -> None:
    core = Core()
    core.submit_specs([keyed("a") for _ in range(3)])
    granted = core.claim_one()
    row = core.state.fairness.keys["a"]
    assert (row.waiting, row.running, row.claimed) == (2, 1, 1)
    core.fail(granted, retry_delay_ms=1_000)
    assert (row.waiting, row.running) == (2, 0), "one that backs off neither waits to be claimed nor runs"


def test_the_largest_keys_are_found() -> None:
    core = Core()
    for number in range(30):
        core.submit_specs([keyed(f"k{number}") for _ in range(number + 1)])
    assert [row.key for row in core.state.fairness.largest(20)] == [f"k{number}" for number in range(29, 9, -1)]
    claimed(core, 30 * 5, at_once=30)
    assert [row.waiting for row in core.state.fairness.largest(3)] == sorted(
        (row.waiting for row in core.state.fairness.keys.values()), reverse=True
    )[:3]


def test_keys_are_listed_by_name_with_those_that_have_only_a_weight() -> None:
    core = Core()
    core.weigh("c", 2_000)
    core.submit_specs([keyed(key) for key in "bda"])
    assert list(core.state.fairness.names(None)) == ["a", "b", "c", "d"]
    assert list(core.state.fairness.names("b")) == ["c", "d"]
    core.weigh("c", 1_000)
    assert list(core.state.fairness.names(None)) == ["a", "b", "d"]


def test_weights_are_in_the_log_and_in_images_and_turns_are_not() -> None:
    core = Core()
    core.weigh("a", 3_000)
    core.weigh("b", 250)
    core.weigh("b", 1_000)
    core.submit_specs([keyed("a"), keyed("b")])
    core.claim_one()
    core.check_replay()
    assert core.rebuilt().fairness.weights == {"a": 3_000}


def test_what_a_claim_costs_does_not_depend_on_how_many_lines_a_key_has() -> None:
    """Its turn moves them all, and each at most once."""
    core = Core()
    core.put_limit("api", 1, per_key=True)
    core.submit_specs([keyed("many", ("api", f"k{number}")) for number in range(300)])
    core.submit_specs([keyed("other") for _ in range(10)])
    (kind,) = core.state.lines._kinds.values()
    assert len(kind.heads) == 2


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_each_key_gets_its_share_of_what_it_could_take(seed: int) -> None:
    """Turns of two keys that both had jobs to claim all the time differ by no more than two."""
    random_ = random.Random(seed)
    core = Core()
    core.put_limit("api", 2, per_key=True)
    running: list[Granted] = []
    had: Counter[str] = Counter()
    core.submit_specs([keyed(key, type=random_.choice("xy")) for key in "abcd" for _ in range(60)])
    for _ in range(120):
        if random_.random() < 0.5:
            key = f"r{random_.randrange(4)}"
            uses = [("api", random_.choice("pq"))] if random_.random() < 0.7 else []
            core.submit_specs([keyed(key, *uses, type=random_.choice("xy"), priority=random_.choice([0, 0, 1]))])
        for granted in core.claim(max_jobs=random_.randrange(1, 4)):
            had[key_of(core, granted)] += 1
            running.append(granted)
        while running and random_.random() < 0.6:
            core.complete(running.pop(random_.randrange(len(running))))
    fair = [had[key] for key in "abcd"]
    assert max(fair) - min(fair) <= 2
    core.check_replay()


# --- what these tests would notice ---------------------------------------------------------------------------------


def _turn_after_the_clock(self: Level, share: Share, turn: int) -> None:
    share.turns += turn  # and nobody notes how far the priority has come


PLANTED = {
    "who comes back makes up for the time": (Share, "arm", lambda self: None),
    "the clock stands still": (Level, "served", _turn_after_the_clock),
    "weights weigh nothing": (Fairness, "turn", lambda self, key: TURN // 1_000),
    "a turn is for nothing": (Fairness, "served", lambda self, share: None),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*PLANTED[name])
    checks = (
        test_who_was_held_by_a_limit_does_not_make_up_for_that_time,
        test_who_comes_late_does_not_make_up_for_the_time_before,
        test_a_weight_is_how_many_turns_a_key_has_for_one_of_another,
    )
    noticed = 0
    for check in checks:
        try:
            check()
        except AssertionError:
            noticed += 1
    assert noticed
