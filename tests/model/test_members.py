"""The rules of membership hold in every order of events, and each of them is needed."""

import pytest

from tests.model.members import Members

HEAL_EVERY = 200


@pytest.mark.parametrize(
    "happens",
    [
        {"epochs": 2, "renewals": 1},
        {"epochs": 2, "renewals": 1, "crashes": 0, "moves": True},
    ],
    ids=["a crash", "moves"],
)
def test_no_read_is_answered_by_memory_once_a_successor_serves(happens: dict[str, int]) -> None:
    verdict = Members(**happens, heal_every=HEAL_EVERY).explore()
    assert verdict.exhausted and not verdict.violation, str(verdict)


@pytest.mark.parametrize(
    ("bug", "happens"),
    [
        ("swap without condemning", {}),
        ("lease from a root's swap", {"crashes": 0}),
        ("lease from the answer", {}),
        ("object recreated", {}),
        ("serve on", {}),
        ("serve on", {"moves": True}),
        ("serve when invited", {"moves": True, "renewals": 1, "crashes": 0}),
        ("swap at once", {"operator": True}),
        ("absent is dead", {"deletions": 1}),
    ],
)
def test_a_rule_that_is_broken_is_noticed(bug: str, happens: dict[str, int]) -> None:
    verdict = Members(**happens, heal_every=HEAL_EVERY, bugs=frozenset({bug})).explore()
    assert "answered by memory" in verdict.violation or "under one epoch" in verdict.violation, str(verdict)


def test_a_candidacy_that_is_dropped_orphans_the_queue() -> None:
    verdict = Members(heal_every=1, bugs=frozenset({"candidacy dropped"})).explore()
    assert "nobody leads" in verdict.violation, str(verdict)
