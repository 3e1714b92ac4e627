"""The log: one line per event, and nothing in it that a terminal obeys."""

import json
import logging

import pytest

from osqueue_service.log_output import JsonLines, TextLines

EVIL = "\x1b]0;owned\x07\x1b[2J\r\x9b31m\x7f\u202e"


def record(message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("osqueue", logging.WARNING, "x.py", 1, message, arguments, None)


@pytest.mark.parametrize("formatter", [TextLines("%(levelname)s %(message)s"), JsonLines()], ids=["text", "json"])
def test_what_callers_sent_does_not_steer_the_terminal(formatter):
    line = formatter.format(record("asked to step down: %s", EVIL))
    assert line.isprintable()
    assert "asked to step down: \\u001b]0;owned" in line


def test_json_means_the_same():
    assert json.loads(JsonLines().format(record("%s käse", EVIL)))["message"] == f"{EVIL} käse"


def test_a_traceback_keeps_its_lines():
    assert TextLines("%(message)s").format(record("one\ntwo\x1b[2J")) == "one\ntwo\\u001b[2J"
