"""Ten minutes of the overview, then ten of a list of jobs, over a large and busy queue: a page worth keeping open.

python -m tests.browser.endurance

Ends with status 1 and names the bound when the heap grows, the main thread is busy or an update is late.
docs/dashboard.md tells the figures.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.browser.chromium import Browser, Page, expect, missing, running_browser
from tests.browser.measure import busy, fill, metrics
from tests.browser.queue_processes import Queue, running_queue

HEAP_GROWTH_MIB_MAX = 1.0
"""From the first minute to the last, each after a garbage collection. A leak of one event's text per event, 60 bytes at
1,000 a second, would be 32 MiB in that time."""
NODES_GROWTH_MAX = 500
"""Elements and texts in the page; a list of jobs has some 1,500, more or fewer as jobs come and go."""
MAIN_THREAD_MAX = 0.20
LATE_MS = 1_000
LATE_SHARE_MAX = 0.05
"""Other programs may make one update in twenty come late; more are ours."""
EVENTS_SHARE_MIN = 0.8
"""Of the events that were wanted; a machine that makes fewer proves nothing."""

WARM_UP_S = 60
MARK_EVERY_S = 5.0

TIMING = {"BROKER_HEARTBEAT_INTERVAL_MS": "3000", "BROKER_HEARTBEAT_TIMEOUT_MS": "10000"}

PREPARE = """async () => {
  const { live } = await import("/dashboard/live.js");
  const told = { events: 0, since: Infinity, longest: 0, late: 0, times: 0 };
  live.eventListeners.add((event) => {
    told.events += 1;
    told.since = Math.min(told.since, event.at);
  });
  const activity = document.querySelector(".activity");
  if (activity) {
    new MutationObserver(() => {
      if (told.since === Infinity) return;
      const waited = Date.now() - told.since;
      told.longest = Math.max(told.longest, waited);
      if (waited > 1000) told.late += 1;
      told.times += 1;
      told.since = Infinity;
    }).observe(activity, { childList: true, subtree: true, characterData: true });
  }
  window.told = told;
  window.expectSoon = (selector, text) => {
    window.shownAt = new Promise((resolve) => {
      const look = () => {
        const found = [...document.querySelectorAll(selector)].some((one) => one.textContent.includes(text));
        if (!found) return false;
        resolve(Date.now());
        return true;
      };
      const watching = new MutationObserver(() => look() && watching.disconnect());
      if (!look()) watching.observe(document.body, { childList: true, subtree: true, characterData: true });
      setTimeout(() => resolve(Date.now()), 30_000); // too late in any case
    });
  };
}"""
"""Counts events, notes how long the oldest one of each rendering of the activity log had waited for it, and lets us
wait for a text to be shown."""


class View(NamedTuple):
    """A page; and a change that it must show: `change` makes it, the `number`th, and names an element that contains a
    text from then on."""

    name: str
    path: str
    change: Callable[[Queue, int], tuple[str, str]]


def one_more_dies(queue: Queue, number: int) -> tuple[str, str]:
    """The tile counts it."""
    queue.settle(_claim(queue), "fail", error={"type": "Marked", "message": ""}, retryable=False)
    return ".tile.dead .tile-value", f"{number:,}"


def another_runs(queue: Queue, number: int) -> tuple[str, str]:
    """A job older than all others: it leads the list, until its lease runs out."""
    return f"tbody a.id[href$='/{_claim(queue)['jobId']}']", ""


def _claim(queue: Queue) -> dict[str, Any]:
    return queue.claim(types=["marker"], leaseMs=round(2_000 * MARK_EVERY_S))


VIEWS = (
    View("overview", "/", one_more_dies),
    View("list of running jobs", "/jobs?status=in_progress", another_runs),
)


def main() -> None:
    """Fill, keep busy, watch each page, and tell."""
    parser = argparse.ArgumentParser(description="Keep the dashboard open for long.")
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=1_000, help="per second")
    parser.add_argument("--minutes", type=int, default=10, help="on each page; at least 2")
    given = parser.parse_args()
    if reason := missing():
        sys.exit(reason)
    marks = round((given.minutes * 60 - WARM_UP_S) / MARK_EVERY_S) + 1
    wrong: list[str] = []
    with (
        tempfile.TemporaryDirectory() as directory,
        running_browser() as browser,
        running_queue(Path(directory), (), **TIMING) as queue,
    ):
        for start in range(0, len(VIEWS) * marks, 1_000):
            jobs = [
                {"payload": n, "type": "marker", "maxAttempts": 1}
                for n in range(start, min(start + 1_000, len(VIEWS) * marks))
            ]
            queue.post("/v1/batch/submit", {"jobs": jobs})
        fill(queue, given.jobs)
        print(f"{queue.get('/v1/stats')['unclaimed']:,} jobs wait", flush=True)
        with busy(queue, given.events):
            for view in VIEWS:
                wrong += _watch(browser, queue, view, given.minutes * 60, marks, given.events)
    sys.exit("\n".join(wrong) or None)


def _watch(browser: Browser, queue: Queue, view: View, seconds: int, marks: int, events: int) -> Iterator[str]:
    """What is wrong with a page that is kept open for so long."""
    page = browser.new_page(base_url=queue.url)
    page.goto(view.path)
    expect(page.locator(".connection")).to_have_text("Live")
    page.evaluate(PREPARE)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    page.wait_for_timeout(WARM_UP_S * 1_000)
    first = metrics(session)
    page.evaluate("() => { told.events = 0; }")
    waits = [_seen_after_ms(page, queue, view, number) for number in range(1, marks)]
    last = metrics(session)
    told = page.evaluate("told")
    page.close()
    elapsed_s = last["Timestamp"] - first["Timestamp"]
    rate = told["events"] / elapsed_s
    main_thread = (last["TaskDuration"] - first["TaskDuration"]) / elapsed_s
    heap = [one["JSHeapUsedSize"] / 2**20 for one in (first, last)]
    nodes = [round(one["Nodes"]) for one in (first, last)]
    listeners = [round(one["JSEventListeners"]) for one in (first, last)]
    waits.sort()
    print(
        f"{view.name}, from minute 1 to minute {(WARM_UP_S + elapsed_s) / 60:.1f}: {rate:,.0f} events/s; "
        f"main thread {main_thread:.1%} busy; heap {heap[0]:.2f} → {heap[1]:.2f} MiB; "
        f"{nodes[0]:,} → {nodes[1]:,} nodes, {listeners[0]} → {listeners[1]} listeners\n"
        f"  {len(waits)} changes shown after {waits[len(waits) // 2]:.0f} ms (median), {waits[-1]:.0f} ms (longest)"
    )
    if told["times"]:
        print(f"  {told['times']:,} renderings of the activity log; the oldest event waited {told['longest']:.0f} ms")
    late = sum(wait > LATE_MS for wait in waits)
    if rate < EVENTS_SHARE_MIN * events:
        yield f"{view.name}: {rate:,.0f} events/s are too few to prove anything"
    if heap[1] - heap[0] > HEAP_GROWTH_MIB_MAX:
        yield f"{view.name}: the heap grew by more than {HEAP_GROWTH_MIB_MAX} MiB"
    if nodes[1] - nodes[0] > NODES_GROWTH_MAX:
        yield f"{view.name}: the page grew by more than {NODES_GROWTH_MAX} nodes"
    if main_thread > MAIN_THREAD_MAX:
        yield f"{view.name}: the main thread was busy for more than {MAIN_THREAD_MAX:.0%} of the time"
    if late > LATE_SHARE_MAX * len(waits) or told["late"] > LATE_SHARE_MAX * told["times"]:
        yield f"{view.name}: {late} changes and {told['late']} renderings were later than {LATE_MS} ms"


def _seen_after_ms(page: Page, queue: Queue, view: View, number: int) -> float:
    """How long after its acknowledgement a change is shown; then a pause."""
    began_s = time.monotonic()
    shown = view.change(queue, number)
    changed_ms = time.time() * 1_000
    page.evaluate("(shown) => expectSoon(...shown)", shown)
    shown_ms: float = page.evaluate("shownAt")
    page.wait_for_timeout(max(0.0, began_s + MARK_EVERY_S - time.monotonic()) * 1_000)
    return max(0.0, shown_ms - changed_ms)


if __name__ == "__main__":
    main()
