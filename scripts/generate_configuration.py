"""Writes the tables of docs/configuration.md from what the code knows of stores and settings."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from osqueue_service.config import known_settings
from osqueue_service.setting import Setting
from osqueue_service.storage.backends import BACKENDS, Backend

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "configuration.md"


def stores() -> Iterator[str]:
    """A row for each store."""
    yield "| backend | what it is | its settings | shared by brokers | extra to install | price tables |"
    yield "|---|---|---|---|---|---|"
    for each in BACKENDS.values():
        settings = ", ".join(f"`{own.name}`{' (required)' * _must_be_set(own)}" for own in each.settings)
        extra = f"`osqueue[{each.name}]`" if each.package else ""
        shared = "yes" if each.shared else "no"
        yield f"| `{each.name}` | {each.summary} | {settings} | {shared} | {extra} | {_prices(each)} |"


def settings() -> Iterator[str]:
    """A row for each setting."""
    yield "| variable | flag | default | |"
    yield "|---|---|---|---|"
    for each in known_settings().values():
        default = int(each.default) if isinstance(each.default, bool) else each.default
        yield f"| `{each.name}` | `--{each.flag}` | {default} | {each.help} |"


def _must_be_set(setting: Setting) -> bool:
    return setting.required and not setting.default


def _prices(backend: Backend) -> str:
    return ", ".join(
        f"`{name}` (put {table.put:.2f}, get {table.get:.2f}, list {table.list:.2f} {table.currency})"
        for name, table in backend.prices.items()
    )


def render(text: str) -> str:
    """The page with its tables made anew."""
    for name, rows in (("stores", stores()), ("settings", settings())):
        block = "\n".join(rows)
        pattern = rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end -->)"
        block = block.replace("\\", r"\\")
        text, found = re.subn(pattern, rf"\g<1>{block}\n\g<2>", text, flags=re.DOTALL)
        assert found == 1, f"{TARGET.name} has no place for {name}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the committed page is not what the code yields")
    check = parser.parse_args().check
    text = TARGET.read_text()
    if not check:
        TARGET.write_text(render(text))
    elif render(text) != text:
        raise SystemExit(f"{TARGET.relative_to(ROOT)} is stale; run `make configuration`")


if __name__ == "__main__":
    main()
