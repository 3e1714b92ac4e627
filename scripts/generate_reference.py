"""Generates the API reference, HTML pages, from the docstrings of what users import; `make docs` runs it."""

import argparse
from pathlib import Path

import pdoc
import pdoc.render

ROOT = Path(__file__).resolve().parent.parent

MODULES = (
    "osqueue",
    "osqueue.calls.submitting",
    "osqueue.calls.leasing",
    "osqueue.calls.reading",
    "osqueue.calls.steering",
    "osqueue.messages",
    "osqueue.admin",
    "osqueue.admin_messages",
    "osqueue.transports.protocol",
    "osqueue_testing",
    "osqueue_testing.plugin",
    "osqueue_server.broker_server",
    "osqueue_service.broker_server",
    "osqueue_service.storage.store",
    "osqueue_service.testing.store_conformance",
    "osqueue_service.testing.in_process",
)
"""What is documented. The client's methods are in `osqueue.calls`, by who calls them; its page links there."""


def generate(target: Path) -> None:
    """Write the pages into a directory."""
    pdoc.render.configure(footer_text="osqueue", show_source=False)
    pdoc.pdoc(*MODULES, output_directory=target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path, nargs="?", default=ROOT / "build" / "docs")
    target = parser.parse_args().target
    generate(target)
    print(f"the API reference is in {target}/index.html")


if __name__ == "__main__":
    main()
