"""What the dashboard weighs, and how it bears a large and busy queue. docs/dashboard.md tells the figures.

python -m tests.browser.measure --jobs 1000000 --events 1000 --seconds 60
"""

import argparse
import asyncio
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from osqueue import OsqueueClient, new_job
from tests.browser.chromium import Browser, expect, running_browser
from tests.browser.queue_processes import Queue, running_queue
from tests.browser.test_weight import first_load

BATCH = 1_000
EVENTS_PER_JOB = 3
"""Submitted, claimed, completed."""
TURNS_PER_SECOND = 5


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description="Measure the dashboard.")
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=1_000, help="per second")
    parser.add_argument("--seconds", type=int, default=60)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as directory,
        running_browser() as browser,
        running_queue(Path(directory)) as queue,
    ):
        loads = [first_load(browser, queue) for _ in range(5)]
        print(f"first load: {loads[0][0]:,} bytes, painted after {sorted(ms for _, ms in loads)[2]:.0f} ms")
        fill(queue, given.jobs)
        print(f"jobs waiting: {queue.get('/v1/stats')['unclaimed']:,}", flush=True)
        _many(browser, queue)
        with busy(queue, given.events):
            for path in ("/", "/jobs?status=in_progress", "/jobs"):
                _bear(browser, queue, path, given.seconds)


def _many(browser: Browser, queue: Queue) -> None:
    """How long pages take among that many jobs."""
    page = browser.new_page(base_url=queue.url)
    for path in ("/", "/jobs", "/jobs?type=rare", "/types"):
        started = time.monotonic()
        page.goto(path)
        expect(page.locator(".connection")).to_have_text("Live")
        expect(page.locator(".tile, tbody tr, .empty").first).to_be_visible(timeout=60_000)
        print(f"{path} among them: {(time.monotonic() - started) * 1_000:.0f} ms")
    page.goto("/jobs")
    for _ in range(3):
        expect(page.locator("tbody tr")).to_have_count(50)
        first = page.locator("tbody a.id").first.get_attribute("href")
        started = time.monotonic()
        page.get_by_role("button", name="Next").click()
        expect(page.locator("tbody a.id").first).not_to_have_attribute("href", str(first))
        print(f"next page: {(time.monotonic() - started) * 1_000:.0f} ms")
    page.close()


def _bear(browser: Browser, queue: Queue, path: str, seconds: int) -> None:
    """How busy a page is while much happens, and whether it grows."""
    page = browser.new_page(base_url=queue.url)
    page.goto(path)
    expect(page.locator(".connection")).to_have_text("Live")
    page.wait_for_timeout(3_000)
    page.evaluate(HEAR)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    before = metrics(session)
    page.wait_for_timeout(seconds * 1_000)
    after = metrics(session)
    events = page.evaluate("window.heardEvents")
    busy = (after["TaskDuration"] - before["TaskDuration"]) / (after["Timestamp"] - before["Timestamp"])
    heap = " → ".join(f"{one['JSHeapUsedSize'] / 2**20:.1f}" for one in (before, after))
    print(f"{path} for {seconds} s: {events / seconds:,.0f} events/s, main thread {busy:.1%}, heap {heap} MiB")
    page.close()


HEAR = """async () => {
  const { live } = await import("/dashboard/live.js");
  window.heardEvents = 0;
  live.eventListeners.add(() => { window.heardEvents += 1; });
}"""
"""Has a page count the events that it is told, from now on."""


def metrics(session: Any) -> dict[str, float]:
    """Chromium's figures of the page after a garbage collection."""
    session.send("HeapProfiler.collectGarbage")
    return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}


def fill(queue: Queue, jobs: int) -> None:
    """Put so many jobs into the queue, behind all others."""
    asyncio.run_coroutine_threadsafe(_fill(queue, jobs), own_loop()).result()


async def _fill(queue: Queue, jobs: int) -> None:
    async with OsqueueClient(f"grpc://127.0.0.1:{queue.grpc_port}") as client:
        for start in range(0, jobs, BATCH):
            await client.submit_jobs(
                new_job("rare" if start % 100_000 == 0 and n == 0 else f"bulk.{n % 7}", {"n": start + n}, priority=-1)
                for n in range(min(BATCH, jobs - start))
            )


@contextmanager
def busy(queue: Queue, events: int) -> Iterator[None]:
    """About so many events a second, until the block ends."""
    task = asyncio.run_coroutine_threadsafe(_churn(queue, events), own_loop())
    try:
        yield
    finally:
        task.cancel()


async def _churn(queue: Queue, events: int) -> None:
    jobs = max(1, events // EVENTS_PER_JOB // TURNS_PER_SECOND)
    loop = asyncio.get_running_loop()
    async with OsqueueClient(f"grpc://127.0.0.1:{queue.grpc_port}") as client:
        while True:
            started = loop.time()
            await client.submit_jobs(new_job("busy", {"n": n}) for n in range(jobs))
            claimed = await client.claim_jobs("busy-worker", ["busy"], max_jobs=jobs)
            await asyncio.gather(*(client.complete_job(job, {"ok": True}) for job in claimed))
            await asyncio.sleep(max(0, 1 / TURNS_PER_SECOND - (loop.time() - started)))


def own_loop(_cache: list[asyncio.AbstractEventLoop] = []) -> asyncio.AbstractEventLoop:  # noqa: B006 - made once
    """A loop in a thread of its own, since Playwright keeps one in this one."""
    if not _cache:
        _cache.append(asyncio.new_event_loop())
        threading.Thread(target=_cache[0].run_forever, daemon=True).start()
    return _cache[0]


if __name__ == "__main__":
    main()
