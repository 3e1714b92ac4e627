"""Sizes that keep the product readable: no module above 400 lines, no function above 60."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "osqueue",
    "osqueue_cli",
    "osqueue_deploy",
    "osqueue_protocol",
    "osqueue_server",
    "osqueue_service",
    "osqueue_testing",
    "gateway/osqueue_gateway",
    "benchmarks",
    "scripts",
    "examples",
)
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_looked_at(package):
    assert any((ROOT / package).rglob("*.py")), f"{package} holds no modules: has it moved?"


def test_no_module_is_longer_than_400_lines():
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in modules()}
    assert {name: lines for name, lines in lengths.items() if lines > MODULE_LINES_MAX} == {}


def test_no_function_is_longer_than_60_lines():
    long = {
        f"{path.relative_to(ROOT).as_posix()}: {name}": lines
        for path in modules()
        for name, lines in functions(path)
        if lines > FUNCTION_LINES_MAX
    }
    assert long == {}


def test_the_architecture_names_only_modules_that_there_are():
    """The tree in docs/architecture.md: a line's folder is the last one above it that stands less far to the right."""
    tree = (ROOT / "docs" / "architecture.md").read_text().split("```\nosqueue_service/\n", 1)[1].split("```", 1)[0]
    folders = {0: ROOT / "osqueue_service"}
    missing = []
    for line in tree.split("\nosqueue_server/", 1)[0].splitlines():
        indent = len(line) - len(line.lstrip())
        names = re.match(r"(?:[a-z_0-9]+(?:\.py|/) *)*", line.strip())[0].split()
        folder = folders[max(depth for depth in folders if depth < max(indent, 1))]
        missing += [f"{folder.name}/{name}" for name in names if not (folder / name).exists()]
        if len(names) == 1 and names[0].endswith("/"):
            folders = {depth: path for depth, path in folders.items() if depth < indent} | {indent: folder / names[0]}
    assert missing == []
    assert len(folders) == 2, "the tree was not understood"
