"""What scopes give."""

import pytest

from osqueue_protocol.rights import EVERYTHING, ROLES, SCOPES_MAX, ScopeError, rights_of


def test_a_scope_gives_one_right_and_no_other():
    rights = rights_of(["read"])
    assert rights.may("read")
    assert not any(rights.may(other) for other in ("submit", "work", "read.payload", "manage", "operate", "admin"))


def test_admin_gives_everything():
    for right in ("submit", "work", "read", "read.payload", "manage", "operate", "admin", "any"):
        assert rights_of(["admin"]).may(right)
    assert EVERYTHING.may_with("submit", "anything")


def test_everybody_has_what_asks_for_nothing():
    assert rights_of(["work:a"]).may("any")


@pytest.mark.parametrize(
    ("scope", "allowed", "refused"),
    [
        ("submit", ["", "email", "a.b/c"], []),
        ("submit:*", ["", "email"], []),
        ("submit:email", ["email"], ["", "email.welcome", "xemail"]),
        ("submit:email.*", ["email.welcome", "email."], ["email", "sms"]),
        ("submit:e?", ["em"], ["e", "ema"]),
        ("submit:*.mail.*", ["a.mail.b"], ["a.mail", "mail.b"]),
    ],
)
def test_patterns_of_types(scope: str, allowed: list[str], refused: list[str]):
    rights = rights_of([scope])
    assert all(rights.may_with("submit", name) for name in allowed)
    assert not any(rights.may_with("submit", name) for name in refused)
    assert not rights.may_with("work", "email")


def test_overlapping_patterns_add_up():
    rights = rights_of(["work:a*", "work:ab", "work:*c"])
    assert [name for name in ("a", "ab", "c", "d") if rights.may_with("work", name)] == ["a", "ab", "c"]
    assert rights.patterns("work") == ["*c", "a*", "ab"]
    assert not rights.everywhere("work")
    assert rights_of(["work:a*", "work"]).everywhere("work")


def test_a_scope_may_be_bound_to_queues():
    rights = rights_of(["read@billing-*", "manage@default"])
    assert rights.in_queue("billing-eu").may("read")
    assert not rights.in_queue("billing-eu").may("manage")
    assert not rights.in_queue("default").may("read")
    assert rights.in_queue("default").may("manage")
    assert rights.may("read") and rights.may("manage"), "in one queue or another"
    assert rights_of(["admin"]).in_queue("billing") == EVERYTHING


def test_a_pattern_costs_no_more_for_a_hostile_type():
    pattern = "*".join(["a"] * 60)
    assert not rights_of([f"submit:{pattern}*b"]).may_with("submit", "a" * 256)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_stands_for_its_scopes(role: str):
    assert rights_of([role]) == rights_of(ROLES[role])


def test_rights_are_written_as_they_are_read():
    written = ["manage", "read@billing", "submit:email.*", "work:*@default"]
    assert rights_of(written).names() == written
    assert rights_of(["submit"]).names() == ["submit:*"]


@pytest.mark.parametrize(
    "text",
    ["", "reads", "READ", "read:email", "submit:", "submit: x", "read@", "submit:[a]", "*", "a" * 201],
)
def test_what_is_no_scope_is_refused_with_what_would_be_one(text: str):
    with pytest.raises(ScopeError, match="scope"):
        rights_of([text])


def test_none_and_too_many_are_refused():
    with pytest.raises(ScopeError, match="no scope"):
        rights_of([])
    assert len(rights_of([f"submit:t{number}" for number in range(SCOPES_MAX)]).scopes) == SCOPES_MAX
    with pytest.raises(ScopeError, match="at most 32"):
        rights_of([f"submit:t{number}" for number in range(SCOPES_MAX + 1)])
