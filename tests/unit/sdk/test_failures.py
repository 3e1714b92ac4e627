"""How failures are told."""

import pytest

from osqueue import JobError
from osqueue.failures import ERROR_MESSAGE_BYTES, ERROR_TYPE_BYTES, describe


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("I will not say")


def raised(error):
    try:
        raise error
    except type(error) as caught:
        return caught


def test_where_it_was_raised_is_told():
    message = describe(raised(ValueError("no"))).message
    assert message.startswith("no\n  at ")
    assert message.endswith(" in raised")


def test_an_exception_without_words():
    assert describe(raised(ValueError())).message.startswith("at ")


def test_an_exception_that_cannot_be_printed():
    assert describe(Mute()) == JobError("Mute", "<RuntimeError in its __str__>")


@pytest.mark.parametrize("letter", ["x", "ö", "𝄞"])
def test_what_is_too_long_is_cut_not_refused(letter):
    error = describe(JobError(letter * 10_000, letter * 100_000))
    for text, limit in ((error.type, ERROR_TYPE_BYTES), (error.message, ERROR_MESSAGE_BYTES)):
        assert limit - 7 <= len(text.encode()) <= limit
        assert text.endswith("…")


def test_what_fits_is_left_alone():
    error = JobError("x" * ERROR_TYPE_BYTES, "x" * ERROR_MESSAGE_BYTES)
    assert describe(error) == error


def test_text_that_is_no_unicode_is_repaired():
    assert describe("\ud800").message == "?"
