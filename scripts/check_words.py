"""Checks the project's English: phrases that read as translated, and words that the glossary does not use.

Each rule says what to write instead. A line that has to quote such a phrase is named in `ALLOWED`, with the reason.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

CHECKED = (".py", ".md", ".proto", ".js", ".html", ".sh", ".txt", ".toml", ".yaml", ".yml")
LEFT_OUT = ("osqueue_stubs/", "osqueue/sync/", "requirements", "tests/", "scripts/check_words.py")
"""Generated files, locks, tests, which quote what strangers wrote, and the rules themselves."""

BETWEEN_WORDS = r"(?:[ \t]+|[ \t]*\n[ \t]*(?:(?:#|//|\*)[ \t]+)?)"
"""Spaces, or the end of a line and the mark of a comment in the next."""
BREAK = re.compile(BETWEEN_WORDS)


class Rule(NamedTuple):
    """A phrase, and what to write instead."""

    phrase: re.Pattern[str]
    instead: str


def _rule(phrase: str, instead: str) -> Rule:
    return Rule(re.compile(phrase.replace(" ", BETWEEN_WORDS), re.IGNORECASE), instead)


RULES = (
    _rule(
        r"(?<!there\s)\b(?:is|are|was|were|be|been) no "
        r"(?!(?:longer|more|less|fewer|better|worse|later|earlier|other|one)\b)",
        'say "is not a ...", or what it is',
    ),
    _rule(r"\bso (?:many|long)\b(?! (?:[\w`]+ ){0,3}(?:that|as)\b)", 'name the number or the time, or say "this many"'),
    _rule(r"\bso many times as\b", 'say "this many times as long as"'),
    _rule(r"(?<!and\s)(?<!are\s)\bno more(?=[.;]| until\b)", 'say "no longer", "stop ...", or "not ... again"'),
    _rule(r"\bno matter of\b|\ba matter of the\b", "say what it depends on"),
    _rule(r"\bno part of\b", 'say "not part of"'),
    _rule(r"\bbelow commits\b|\bhave enough of\b", "say which one is meant"),
    _rule(r"\b(?:dequeue|visibility timeout|nack)\b", "see docs/glossary.md, Verbs"),
    _rule(r"\bjob is reserved\b|\breserve a job\b", 'say "claim"'),
)

ALLOWED = {
    ("docs/glossary.md", "Not used here"): "the list of the words that are not used",
}


def complaints(path: str, text: str) -> Iterator[str]:
    """What is wrong with a file, as `path:line: phrase: what to write instead`."""
    lines = text.splitlines()
    for rule in RULES:
        for found in rule.phrase.finditer(text):
            number = text.count("\n", 0, found.start()) + 1
            if not any(path == where and marker in lines[number - 1] for where, marker in ALLOWED):
                yield f"{path}:{number}: {' '.join(BREAK.split(found[0].strip()))!r}: {rule.instead}"


def main() -> int:
    """Print the complaints about every tracked file; 1 if there are any."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = [
        complaint
        for path in listed.splitlines()
        if path.endswith(CHECKED) and not path.startswith(LEFT_OUT) and "/vendor/" not in path
        for complaint in complaints(path, (ROOT / path).read_text(encoding="utf-8"))
    ]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
