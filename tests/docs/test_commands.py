"""Every command on every page is one: `osqueue` with the options that it has, `make` with its targets, `pip` with
what is ours, calls over HTTP with paths that the gateway answers. That sessions go as shown is tested elsewhere."""

import contextlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest

from osqueue_cli.cli import cli
from osqueue_protocol.rpcs import CLIENT_RPCS
from tests.docs.test_readme import parse

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "examples", "deploy")
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))]
    if page.name != "CHANGELOG.md"
)
BLOCK = re.compile(r"^```(?:sh|bash|console)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(osqueue [a-z][^`]*)`")
STARTS = re.compile(r"(?:\$ )?((?:\w+=\S* )*(?:osqueue|make|pip|curl) .*)")
ELLIPSES = ("…", "...")
FILES = dict.fromkeys(("mails.jsonl", "purged.jsonl", "email.jsonl", "report.json"), "{}\n")
"""What commands read."""

PATHS = {
    *(route.path for rpc in CLIENT_RPCS.values() for route in rpc.routes),
    *(rpc.path for rpc in CLIENT_RPCS.values()),
    "/healthz", "/livez", "/readyz", "/metrics", "/openapi.json", "/state", "/docs",
}  # fmt: skip


def commands() -> Iterator[tuple[str, int, str]]:
    """(page, line, command)."""
    for page in PAGES:
        text = page.read_text()
        name = str(page.relative_to(ROOT))
        for block in BLOCK.finditer(text):
            first = text[: block.start(1)].count("\n") + 1
            prompted = re.search(r"^\$ ", block[1], re.MULTILINE) is not None  # what else is there are answers
            joined = re.sub(r"\\\n\s*", lambda found: " " * len(found[0]), block[1])
            for offset, line in enumerate(joined.splitlines()):
                if (found := STARTS.fullmatch(line.strip())) and (line.startswith("$ ") or not prompted):
                    yield name, first + offset, found[1]
        for found in INLINE.finditer(text):
            yield name, text[: found.start()].count("\n") + 1, found[1].replace("\n", " ")


COMMANDS = list(commands())


def words_of(command: str) -> list[str]:
    """The words of the command itself, without what follows it and what stands before it."""
    command = re.sub(r"\s+#.*$", "", command)
    command = re.sub(r'"\$\([^)]*\)"|\$\([^)]*\)', "token", command)
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|;&<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if word and set(word) <= set("|;&<>"):
            break
        words.append(word)
    while words and "=" in words[0] and not words[0].startswith("-"):
        words.pop(0)
    return words


def of(program: str) -> list[object]:
    return [
        pytest.param(words[1:], id=f"{page}:{line}")
        for page, line, command in COMMANDS
        if len(words := words_of(command)) > 1 and words[0] == program and re.match(r"[a-z-]", words[1])
    ]


def test_there_are_commands():
    assert len(of("osqueue")) >= 60
    assert len(of("curl")) >= 10


@pytest.mark.parametrize("arguments", of("osqueue"))
def test_osqueue_knows_the_command(arguments, tmp_path, monkeypatch):
    """With its options, where it is written out; a group or a command that is only named must be there."""
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        Path(name).write_text(content)
    group = cli
    named = list(arguments)
    while named and isinstance(group, click.Group):
        _, group, named = group.resolve_command(click.Context(group), named)
    if named:
        with contextlib.suppress(click.MissingParameter):  # which one is the reader's to say
            parse([word for word in arguments if word not in ELLIPSES])


@pytest.mark.parametrize("arguments", of("make"))
def test_make_has_the_target(arguments):
    makefile = (ROOT / "Makefile").read_text()
    for target in [word for word in arguments if "=" not in word]:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("arguments", of("pip"))
def test_what_is_installed_is_ours(arguments):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for word in arguments[1:]:
        if word.startswith(project["name"] + "["):
            extras = word.partition("[")[2].partition("]")[0].split(",")
            assert set(extras) <= set(project["optional-dependencies"]), word


@pytest.mark.parametrize("arguments", of("curl"))
def test_the_gateway_has_the_path(arguments):
    urls = [word for word in arguments if re.match(r"(https?://)?(localhost|127\.0\.0\.1|gateway):8080", word)]
    for url in urls:
        path = urlsplit(url if "//" in url else f"//{url}").path
        patterns = [re.sub(r"\{\w+\}", "[^/]+", known) for known in PATHS]
        assert any(re.fullmatch(pattern, path) for pattern in patterns), path
