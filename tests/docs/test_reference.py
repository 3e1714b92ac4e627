"""The API reference: it can be generated, and every public name in it says what it is."""

from collections.abc import Iterator
from pathlib import Path

import pdoc.doc
import pytest

from scripts.generate_reference import MODULES, generate


def _undocumented(scope: pdoc.doc.Module | pdoc.doc.Class) -> Iterator[str]:
    """Public classes, functions and properties without a docstring."""
    for member in scope.members.values():
        if member.name.startswith(("_", "test_")):  # the name of a test says it all
            continue
        described = isinstance(member, pdoc.doc.Class | pdoc.doc.Function) or _is_property(scope, member)
        if described and _is_ours(member) and not member.docstring.strip():
            yield member.fullname
        if isinstance(member, pdoc.doc.Class):
            yield from _undocumented(member)


def _is_property(scope: pdoc.doc.Module | pdoc.doc.Class, member: pdoc.doc.Doc) -> bool:
    return isinstance(scope, pdoc.doc.Class) and isinstance(getattr(scope.obj, member.name, None), property)


def _is_ours(member: pdoc.doc.Doc) -> bool:
    return member.taken_from[0].split(".")[0].startswith("osqueue")


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_has_a_docstring(name: str) -> None:
    module = pdoc.doc.Module.from_name(name)
    assert module.docstring
    assert sorted(set(_undocumented(module))) == []


def test_the_pages_are_made(tmp_path: Path) -> None:
    generate(tmp_path)
    pages = {
        page.relative_to(tmp_path).with_suffix("").as_posix().replace("/", ".") for page in tmp_path.rglob("*.html")
    }
    assert pages >= set(MODULES)
    client = (tmp_path / "osqueue.html").read_text()
    assert "Submits, claims, settles and observes jobs." in client
    assert "submit_job" in client
    assert "Put one job into the queue" in (tmp_path / "osqueue" / "calls" / "submitting.html").read_text()
