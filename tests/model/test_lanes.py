"""The rules of the log hold in every order of events, and each of them is needed."""

from typing import Any

import pytest

from tests.model.lanes import Lanes


@pytest.mark.parametrize(
    "happens",
    [{"commands": 1}, {"commands": 1, "epochs": 2, "deletes": True}, {"epochs": 2, "depth": 2, "commands": 3}],
    ids=["moves and parks", "deletes", "two puts under way"],
)
def test_what_was_acknowledged_is_recovered(happens: dict[str, Any]) -> None:
    verdict = Lanes(**happens).explore()
    assert verdict.exhausted and not verdict.violation, str(verdict)


@pytest.mark.parametrize(
    ("bug", "happens"),
    [
        ("fence deleted in an open lane", {}),
        ("no last look at the root", {}),
        ("uid used again", {"deletes": True, "moves": False}),
    ],
)
def test_a_rule_that_is_broken_is_noticed(bug: str, happens: dict[str, Any]) -> None:
    verdict = Lanes(**happens, bugs=frozenset({bug})).explore()
    assert verdict.violation, str(verdict)


def test_commits_rest_on_the_log_alone() -> None:
    """A leader that goes on after it gave its queue away answers stale reads (`test_members.py`), and loses nothing."""
    verdict = Lanes(commands=1, bugs=frozenset({"served on after giving"})).explore()
    assert verdict.exhausted and not verdict.violation, str(verdict)
