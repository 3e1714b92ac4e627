"""The rules of queues that live on the lease of the default one hold in every order of events, and each is needed."""

from typing import Any

import pytest

from tests.model.lending import Lending


@pytest.mark.parametrize("happens", [{}, {"leaves": True}, {"renewals": 2}], ids=["silence", "hand-over", "renewals"])
def test_no_read_is_answered_by_memory_once_a_successor_serves(happens: dict[str, Any]) -> None:
    verdict = Lending(**happens).explore()
    assert verdict.exhausted and not verdict.violation, str(verdict)


@pytest.mark.parametrize(
    ("bug", "happens"),
    [
        ("not confirmed", {}),
        ("confirmed before it was read", {}),
        ("lease from the queue's swap", {}),
        ("serve on", {"leaves": True}),
    ],
)
def test_a_rule_that_is_broken_is_noticed(bug: str, happens: dict[str, Any]) -> None:
    verdict = Lending(**happens, bugs=frozenset({bug})).explore()
    assert "answered by memory" in verdict.violation, str(verdict)
