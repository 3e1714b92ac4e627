"""The browser: Debian's Chromium, driven by Playwright. `scripts/install_browser.sh` installs both."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

INSTALL_SCRIPT = "scripts/install_browser.sh"
REQUIRED = os.environ.get("OSQUEUE_REQUIRE_BROWSER") == "1"

if find_spec("playwright") is not None:
    from playwright.sync_api import Browser, Page, expect, sync_playwright

    expect.set_options(timeout=10_000)  # for machines with much else to do
else:  # the tests that use them are skipped, by name
    Browser = Page = expect = sync_playwright = Any

__all__ = ["INSTALL_SCRIPT", "REQUIRED", "STRANGER", "Browser", "Page", "expect", "missing", "running_browser"]

STRANGER = "stranger.test"
"""A host that only this browser knows: pages of it come from this machine, under a name that is not this machine's."""

_FLAGS = (
    f"--host-resolver-rules=MAP {STRANGER} 127.0.0.1",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-precise-memory-info",
)


def missing() -> str:
    """What keeps us from starting it, "" when nothing does."""
    if find_spec("playwright") is None:
        return f"playwright is not installed: run {INSTALL_SCRIPT}"
    if shutil.which("chromium") is None:
        return f"chromium is not installed: run {INSTALL_SCRIPT}"
    return ""


@contextmanager
def running_browser() -> Iterator[Browser]:
    """The browser, without a window."""
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()  # root has none
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), headless=True, args=[*_FLAGS, *sandbox]
        )
        try:
            yield browser
        finally:
            browser.close()
