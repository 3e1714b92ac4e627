"""The synchronous client is what the script makes of the asynchronous one, and reads like a synchronous client."""

import inspect
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import osqueue.sync
from scripts import generate_sync

ROOT = Path(__file__).resolve().parents[3]


def test_it_is_fresh():
    command = [sys.executable, "scripts/generate_sync.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_a_stale_one_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(generate_sync, "TARGET", tmp_path)
    monkeypatch.setattr(sys, "argv", ["generate_sync.py"])
    generate_sync.main()
    (tmp_path / "client.py").write_text("")
    (tmp_path / "left_over.py").write_text("")
    monkeypatch.setattr(sys, "argv", ["generate_sync.py", "--check"])
    with pytest.raises(SystemExit, match=r"run `make sync`. Differing: client\.py, left_over\.py"):
        generate_sync.main()


@pytest.mark.parametrize("name", osqueue.sync.__all__)
def test_its_texts_speak_of_synchronous_calls(name):
    twin = getattr(osqueue.sync, name)
    texts = [inspect.getdoc(twin), *(inspect.getdoc(each) for _, each in inspect.getmembers(twin, callable))]
    ours = [text for text in texts if text]
    assert [text for text in ours if re.search(r"\b(await|async with|async for|OsqueueClient|JobHandle)\b", text)] == []


def test_a_sentence_that_is_true_of_the_original_only_cannot_be_forgotten(monkeypatch):
    """Whoever rewords it there is told to say what is true of the twin."""
    monkeypatch.setattr(generate_sync, "REWORDED", {"SyncClient": (("It is blue.", "It is green."),)})
    with pytest.raises(AssertionError, match="see REWORDED"):
        generate_sync.module_of(generate_sync.TWINS[-1])


def test_a_method_without_a_text_is_refused(tmp_path, monkeypatch):
    source = tmp_path / "bare.py"
    source.write_text('"""A module."""\n\n\nclass Bare:\n    """A class."""\n\n    async def call(self) -> int: ...\n')
    monkeypatch.setattr(generate_sync, "ROOT", tmp_path)
    bare = replace(generate_sync.TWINS[1], source="bare.py", original="Bare")
    with pytest.raises(AssertionError, match="docstring"):
        generate_sync.module_of(bare)
