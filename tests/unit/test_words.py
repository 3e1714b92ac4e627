"""The lint of the project's English: it finds what reads as translated, and leaves alone what is said well."""

from pathlib import Path

import pytest

from scripts.check_words import ALLOWED, complaints

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("the handler is no function", "is no"),
        ("Requests that were no HTTP.", "were no"),
        ("what is here is\n    # no part of it", "is no"),
        ("At most so many.", "so many"),
        ("silent for so long is dead", "so long"),
        ("It is asked no more.", "no more"),
        ("handed out no more until it is resumed", "no more"),
        ("a courtesy and no part of it", "no part of"),
        ("the visibility timeout of a message", "visibility timeout"),
    ],
)
def test_what_reads_as_translated_is_found_with_its_place(text, phrase):
    first, *_ = complaints("docs/new.md", "# A title\n" + text)
    assert first.startswith(f"docs/new.md:2: {phrase!r}: ")


@pytest.mark.parametrize(
    "text",
    [
        "the handler is not a function",
        "there is no job with this id, and it is no longer kept",
        "a wait of no more than 5 s; there are no more.",
        "so many jobs that a page is not enough, so long as it is read",
        "as many as fit, and no more.",
    ],
)
def test_what_is_said_well_is_left_alone(text):
    assert list(complaints("docs/new.md", text)) == []


def test_a_line_that_quotes_a_phrase_is_named_with_its_reason():
    for (path, marker), reason in ALLOWED.items():
        text = (ROOT / path).read_text()
        assert marker in text and reason
        assert list(complaints("docs/elsewhere.md", text)) and not list(complaints(path, text))
