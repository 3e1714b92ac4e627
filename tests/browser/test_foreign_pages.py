"""Pages that the gateway does not serve itself: of an origin that it allows, and of one that it does not."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.browser.chromium import STRANGER, Browser, Page
from tests.browser.queue_processes import Queue, running_queue
from tests.servers import LOOPBACK

GUEST = Path(__file__).parent / "guest"
WAYS = ("REST", "Connect", "WebSocket")
CALLS = ("submitJob", "claimJob", "completeJob", "getStats")


class Origins(NamedTuple):
    """Where the same page is served from."""

    allowed: str
    forbidden: str


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


@contextmanager
def page_server(host: str = LOOPBACK) -> Iterator[str]:
    """Serves the page on a port, and so an origin, of its own; the browser asks for it by the host's name."""
    with ThreadingHTTPServer((LOOPBACK, 0), partial(Quiet, directory=GUEST)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{host}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def origins() -> Iterator[Origins]:
    with ExitStack() as stack:
        # Pages that this machine serves under its own name may call where only it is served; this one has another.
        yield Origins(stack.enter_context(page_server()), stack.enter_context(page_server(STRANGER)))


@pytest.fixture(scope="module")
def queue(browser: Browser, origins: Origins, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    with running_queue(tmp_path_factory.mktemp("queue"), CORS_ORIGINS=origins.allowed) as found:
        yield found


@pytest.fixture
def answers(page: Page) -> list[tuple[str, str, int]]:
    """The kind, method and status of every answer that the tab gets, of the browser's own questions too."""
    heard: list[tuple[str, str, int]] = []
    methods: dict[str, str] = {}
    network = page.context.new_cdp_session(page)
    network.on("Network.requestWillBeSent", lambda sent: methods.update({sent["requestId"]: sent["request"]["method"]}))
    network.on(
        "Network.responseReceived",
        lambda got: heard.append((got["type"], methods.get(got["requestId"], ""), got["response"]["status"])),
    )
    network.send("Network.enable")
    return heard


def wait_until(page: Page, so: Callable[[], bool]) -> None:
    """Let the tab's events in until it is so: an answer is told a little after the page has it."""
    given_up = time.monotonic() + 10
    while not so():
        assert time.monotonic() < given_up, "what was waited for did not come"
        page.wait_for_timeout(10)


def contents(queue: Queue) -> dict[str, Any]:
    """Every job and count; all but the leader's sign of life."""
    return {name: value for name, value in queue.get("/state").items() if name != "brokerHeartbeat"}


@pytest.mark.parametrize("way", WAYS)
def test_a_page_of_an_allowed_origin_works(
    page: Page, queue: Queue, origins: Origins, answers: list[tuple[str, str, int]], way: str
) -> None:
    page.goto(origins.allowed)
    job_id = page.evaluate("(where) => work(where)", {"gateway": queue.url, "way": way, "type": f"allowed.{way}"})
    job = queue.get(f"/v1/jobs/{job_id}")["job"]
    assert (job["status"], job["payload"]) == ("completed", {"from": origins.allowed})
    preflight = ("Preflight", "OPTIONS", 204)
    if way == "WebSocket":
        assert preflight not in answers  # browsers send the origin with a WebSocket, and ask nothing
    else:
        wait_until(page, lambda: preflight in answers)


@pytest.mark.parametrize("way", WAYS)
def test_a_page_of_a_forbidden_origin_is_refused(
    page: Page, queue: Queue, origins: Origins, answers: list[tuple[str, str, int]], way: str
) -> None:
    job_type = f"forbidden.{way}"
    for _ in range(2):
        queue.submit(type=job_type)
    held = queue.claim(types=[job_type])
    before = contents(queue)
    page.goto(origins.forbidden)
    where = {"gateway": queue.url, "way": way, "type": job_type, **held}
    tried = page.evaluate("(where) => tryAll(where)", where)
    assert set(tried) == set(CALLS)
    expected = "refused: closed" if way == "WebSocket" else "refused: Failed to fetch"
    assert set(tried.values()) == {expected}, tried
    assert not [answer for answer in answers if answer[0] == "Preflight" and answer[2] != 403]
    assert contents(queue) == before


def test_a_forbidden_page_changes_nothing_without_asking(
    page: Page, queue: Queue, origins: Origins, answers: list[tuple[str, str, int]]
) -> None:
    queue.submit(type="unasked")
    before = contents(queue)
    page.goto(origins.forbidden)
    assert page.evaluate("(where) => tryUnasked(where)", {"gateway": queue.url}) == ["opaque"] * 3
    wait_until(page, lambda: [answer for answer in answers if "POST" in answer] == [("Fetch", "POST", 403)] * 2)
    assert contents(queue) == before
