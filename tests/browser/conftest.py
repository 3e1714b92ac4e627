"""A real browser, before a real broker and gateway.

The fixtures live as long as a module: Playwright keeps an event loop running, in which no other test could run its own.
"""

from collections.abc import Iterator

import pytest

from tests.browser.chromium import REQUIRED, Browser, Page, missing, running_browser
from tests.browser.queue_processes import Queue, running_queue

EXPECTED_NOISE = (
    "Failed to load resource",
    "WebSocket connection to",
    "Access to fetch at",
    "The Cross-Origin-Opener-Policy header has been ignored",
)
"""What Chromium says of answers that are no success: tests cause them on purpose."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    reason = missing()
    if reason and REQUIRED:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    with running_browser() as found:
        yield found


@pytest.fixture(scope="module")
def queue(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    with running_queue(tmp_path_factory.mktemp("queue")) as found:
        yield found


@pytest.fixture
def page(browser: Browser, queue: Queue) -> Iterator[Page]:
    """A tab. Whatever it throws, or its security policy refuses, fails the test."""
    context = browser.new_context(base_url=queue.url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(10_000)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab = context.new_page()
    wrong: list[str] = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on(
        "console",
        lambda said: (
            wrong.append(said.text) if said.type == "error" and not said.text.startswith(EXPECTED_NOISE) else None
        ),
    )
    tab.on("dialog", lambda dialog: wrong.append(f"a dialog: {dialog.message}") or dialog.dismiss())
    yield tab
    context.close()
    assert not wrong
