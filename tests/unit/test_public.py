"""What the SDK promises to others: the modules that the gateway, the command line and programs may import."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PUBLIC = {
    "osqueue": "what programs need: clients, worker, types, errors",
    "osqueue.admin": "an operator's calls",
    "osqueue.access_messages": "who may call, and who did what",
    "osqueue.admin_messages": "what an operator is told",
    "osqueue.api": "the API's messages, RPCs, mapping and JSON form",
    "osqueue.api.descriptors": "messages and RPCs by name",
    "osqueue.api.events": "what a watch tells, as events by name",
    "osqueue.api.item_errors": "the errors of single items of a batch",
    "osqueue.api.json_readers": "JSON as the gateway takes it",
    "osqueue.api.json_shapes": "messages as JSON and back",
    "osqueue.api.json_text": "JSON text, member by member",
    "osqueue.api.json_writers": "messages as the gateway answers them",
    "osqueue.api.mapping": "messages as the SDK's types and back",
    "osqueue.api.queries": "messages as query parameters",
    "osqueue.coalescing": "calls that travel together",
    "osqueue.codecs": "payloads and results that are encoded on their way",
    "osqueue.credentials": "what a client shows and trusts: tokens and certificates",
    "osqueue.contrib": "backends and clients for web frameworks",
    "osqueue.dependencies": "what handlers are given",
    "osqueue.errors": "every error, with its reason",
    "osqueue.job": "what a job is",
    "osqueue.middleware": "what runs around handlers",
    "osqueue.messages": "what a transport is asked and what it answers",
    "osqueue.submit_middleware": "what runs around submissions",
    "osqueue.submission": "jobs and filters from what a caller wrote",
    "osqueue.stats": "the queue in figures",
    "osqueue.sync": "the synchronous client",
    "osqueue.transports.addresses": "where brokers and gateways are",
    "osqueue.transports.base": "a transport of one's own in seven methods",
    "osqueue.transports.causes": "why a broker cannot be reached, in words",
    "osqueue.transports.grpc_link": "calls to whichever broker leads, in messages",
    "osqueue.transports.protocol": "what a transport of one's own implements",
    "osqueue.transports.wire": "a transport of one's own that carries the API's messages",
}
"""The list. Whatever else the SDK holds may change with any release."""

OUTSIDE = ("gateway", "osqueue_cli", "osqueue_server", "osqueue_testing", "examples")

BLOCK = re.compile(r"^```python[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def imports(source: str) -> Iterator[tuple[str, list[str]]]:
    """The SDK's modules that a program imports, with the names taken from each."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "osqueue":
            yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names if alias.name.split(".")[0] == "osqueue")


def sources(top: str) -> Iterator[tuple[str, str]]:
    """The programs in a directory of ours, or on the pages of docs/."""
    if top == "docs":
        for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
            yield from ((page.name, block) for block in BLOCK.findall(page.read_text()))
    else:
        yield from ((str(path.relative_to(ROOT)), path.read_text()) for path in (ROOT / top).rglob("*.py"))


def is_public(module: str) -> bool:
    return module in PUBLIC or module.startswith("osqueue.contrib.")


@pytest.mark.parametrize("top", [*OUTSIDE, "docs"])
def test_others_import_what_is_public(top):
    found = [
        f"{where}: {module} ({', '.join(names)})"
        for where, source in sources(top)
        for module, names in imports(source)
        if not is_public(module) or any(name.startswith("_") for name in names)
    ]
    assert found == [], "import it from a public module, or make it public here and in docs/sdk.md"


def test_everything_public_is_there_and_says_what_it_is():
    for module in PUBLIC:
        path = ROOT.joinpath(*module.split("."))
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        assert ast.get_docstring(ast.parse(source.read_text())), module


def test_the_list_is_documented():
    text = (ROOT / "docs" / "sdk.md").read_text()
    section = text.partition("## What is public")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(osqueue[a-z._]*)`", section))
    assert named == {module for module in PUBLIC if not module.startswith("osqueue.api.")}
