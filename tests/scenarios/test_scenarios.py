"""Every scenario file holds."""

from pathlib import Path

import pytest

from tests.scenarios.driver import Mismatch, play

FILES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario(path):
    play(path)


def test_a_wrong_answer_is_noticed(tmp_path):
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("submit a\nclaim w1 -> nothing\n")
    with pytest.raises(Mismatch, match="line 2"):
        play(wrong)


def test_a_refusal_that_nobody_expects_is_noticed(tmp_path):
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("submit a\ncomplete a\n")
    with pytest.raises(Mismatch, match="LEASE_LOST"):
        play(wrong)
