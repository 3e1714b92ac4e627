"""Every page with Python is a program that works: its blocks, in order, against a broker in this process."""

import ast
import inspect
import re
import types
from pathlib import Path

import pytest

from osqueue_service.testing.in_process import broker_in_process

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = DOCS / "guides"
PAGES = sorted(page for page in GUIDES.glob("*.md") if page.name != "README.md")
MOVING = sorted(DOCS.glob("from-*.md"))
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def program(page: Path) -> str:
    """The page's Python, each line at the number that it has in the page, so that a failure points there."""
    text = page.read_text()
    lines = [""] * (text.count("\n") + 1)
    for block in _BLOCK.finditer(text):
        first = text[: block.start(1)].count("\n")
        for offset, line in enumerate(block[1].splitlines()):
            lines[first + offset] = line
    return "\n".join(lines)


@pytest.mark.parametrize("page", [*PAGES, *MOVING, DOCS / "sdk.md"], ids=lambda page: page.stem)
async def test_the_guide_works(page: Path) -> None:
    async with broker_in_process() as broker:
        await read(page, broker.address)


async def test_the_guides_work_one_after_another_on_one_broker_and_again() -> None:
    """As somebody reads them, and comes back later."""
    names = re.findall(r"\(([\w-]+\.md)\)", (GUIDES / "README.md").read_text())
    in_order = [GUIDES / name for name in dict.fromkeys(names) if GUIDES / name in PAGES]
    assert sorted(in_order) == PAGES
    async with broker_in_process() as broker:
        for page in in_order + in_order:
            await read(page, broker.address)


async def read(page: Path, broker: str) -> None:
    """Do what the page shows."""
    source = program(page).replace("localhost:8081", broker)
    code = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    module = types.ModuleType(page.stem)
    running = eval(code, module.__dict__)
    if inspect.iscoroutine(running):
        await running


FRAGMENTS = {
    "stores.md": "a class for the reader's own tests",
    "monitoring.md": "lines for a program that is there",
}
"""Pages whose Python is not a program, and why."""


def test_no_page_with_python_is_left_out() -> None:
    run = {*PAGES, *MOVING, DOCS / "sdk.md"}
    pages = {page for page in DOCS.rglob("*.md") if _BLOCK.search(page.read_text())}
    assert {page.name for page in pages - run} == set(FRAGMENTS)


def test_the_index_names_every_guide() -> None:
    index = (GUIDES / "README.md").read_text()
    assert [page.name for page in PAGES if f"({page.name})" not in index] == []
    assert [page.name for page in MOVING if f"(../{page.name})" not in index] == []
