"""A refusal names everything that is wrong, as far as it fits."""

from osqueue_service.errors import InvalidRequest, PayloadTooLarge, Violation
from osqueue_service.rpc.fields import SHOWN_CHARS_MAX, SHOWN_MAX, Violations


def test_nothing_wrong_is_no_refusal():
    Violations().check()


def test_all_that_is_wrong_is_named_at_once():
    wrong = Violations()
    wrong.add("type", "is odd")
    wrong.add("priority", "is huge")
    refusal = wrong.refusal()
    assert type(refusal) is InvalidRequest
    assert refusal.message == "type: is odd; priority: is huge"
    assert refusal.violations == (Violation("type", "is odd"), Violation("priority", "is huge"))


def test_an_item_of_a_batch_is_named_from_the_root():
    wrong = Violations("jobs")
    wrong.index = 3
    wrong.add("type", "is odd")
    assert wrong.refusal().violations[0].field == "jobs[3].type"


def test_only_bytes_over_a_limit_make_it_too_large():
    wrong = Violations()
    wrong.too_large("payload", "has 2 bytes")
    assert type(wrong.refusal()) is PayloadTooLarge
    wrong.too_large("payload", "has 2 bytes")
    wrong.add("type", "is odd")
    assert type(wrong.refusal()) is InvalidRequest


def test_a_refusal_begins_anew():
    wrong = Violations()
    wrong.add("type", "is odd")
    wrong.refusal()
    assert not wrong
    wrong.check()


def test_what_does_not_fit_in_metadata_is_counted():
    wrong = Violations("jobs")
    for wrong.index in range(1_000):
        wrong.add("type", "is odd")
    refusal = wrong.refusal()
    assert len(refusal.violations) == SHOWN_MAX
    assert refusal.message.endswith(f"; and {1_000 - SHOWN_MAX} more")


def test_long_descriptions_are_few():
    wrong = Violations()
    for _ in range(SHOWN_MAX):
        wrong.add("field", "x" * 1_000)
    assert sum(len(field) + len(text) for field, text in wrong.refusal().violations) <= SHOWN_CHARS_MAX
