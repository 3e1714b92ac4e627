"""Pages follow what happens, and say so when they cannot."""

from tests.browser.chromium import Page, expect
from tests.browser.queue_processes import Queue


def test_what_happens_shows_without_being_asked_for(page: Page, queue: Queue) -> None:
    """How soon it shows is measured by the endurance run, which has the machine to itself."""
    page.goto("/")
    expect(page.locator(".connection")).to_have_text("Live")
    job_id = queue.submit(type="live.now")
    expect(page.locator(f".activity li a[href='/jobs/{job_id}']")).to_be_visible()
    expect(page.locator(".tile", has_text="Waiting").locator(".tile-value")).to_have_text(str(_waiting(queue)))


def _waiting(queue: Queue) -> int:
    waiting: int = queue.get("/v1/stats")["unclaimed"]
    return waiting


def test_a_list_of_jobs_follows_and_can_be_paused(page: Page, queue: Queue) -> None:
    queue.submit(type="live.list")
    page.goto("/jobs?type=live.list")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(1)
    queue.submit(type="live.list")
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Pause updates").click()
    total = page.get_by_text("3 jobs", exact=True)
    queue.submit(type="live.list")
    expect(total).to_be_visible()  # so the event has come, and the rows were left alone
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Updates paused").click()
    queue.submit(type="live.list")
    expect(rows).to_have_count(4)


def test_a_job_is_followed_to_its_end(page: Page, queue: Queue) -> None:
    job_id = queue.submit(type="live.job")
    page.goto(f"/jobs/{job_id}")
    status = page.locator("h1 .status")
    expect(status).to_have_text("waiting")
    claimed = queue.claim(types=["live.job"])
    expect(status).to_have_text("running")
    queue.settle(claimed, "complete", result={"done": True})
    expect(status).to_have_text("completed")
    expect(page.locator(".payload", has_text="Result")).to_contain_text('"done": true')


def test_the_activity_log_can_be_held(page: Page, queue: Queue) -> None:
    page.goto("/")
    expect(page.locator(".connection")).to_have_text("Live")
    queue.submit(type="live.held")
    lines = page.locator(".activity li")
    expect(lines).to_have_count(1)
    page.get_by_role("button", name="Pause").click()
    before = page.locator(".tile", has_text="Waiting").locator(".tile-value").text_content() or ""
    queue.submit(type="live.held")
    expect(page.locator(".tile", has_text="Waiting").locator(".tile-value")).not_to_have_text(before)
    expect(lines).to_have_count(1)
    page.get_by_role("button", name="Go on").click()
    expect(lines).to_have_count(2)


def test_a_broker_killed_and_back(page: Page, queue: Queue) -> None:
    job_id = queue.submit(type="live.survivor")
    page.goto("/")
    expect(page.locator(".connection")).to_have_text("Live")
    banner = page.locator(".banner")
    with queue.without("osqueue_service"):
        expect(page.locator(".connection")).to_have_text("Disconnected")
        expect(banner).to_contain_text("No broker leads")
        expect(banner).to_contain_text("What you see is from")
        expect(page.locator(".tile").first).to_be_visible()  # what was known stays in sight
        expect(page.locator(".wrong")).to_have_count(1)  # and what is wrong is said once
    expect(page.locator(".connection")).to_have_text("Live")
    expect(banner).to_have_count(0)
    page.goto("/jobs?type=live.survivor")
    expect(page.locator(f"a[href='/jobs/{job_id}']")).to_be_visible()


def test_a_gateway_killed_and_back(page: Page, queue: Queue) -> None:
    job_id = queue.submit(type="live.gateway")
    page.goto(f"/jobs/{job_id}")
    expect(page.locator(".explain")).to_be_visible()
    with queue.without("osqueue_gateway"):
        expect(page.locator(".connection")).to_have_text("Disconnected")
        expect(page.locator(".banner")).to_contain_text("Is the gateway running")
        page.get_by_role("button", name="Try now").click()
    expect(page.locator(".connection")).to_have_text("Live")
    expect(page.locator(".wrong")).to_have_count(0)


def test_a_hidden_tab_lets_go_of_its_stream(page: Page, queue: Queue) -> None:
    page.clock.install()
    page.goto("/")
    expect(page.locator(".connection")).to_have_text("Live")
    # A headless tab is never hidden, so it is told that it is.
    page.evaluate("""() => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => window.hiddenNow ?? false });
      window.hiddenNow = true;
      document.dispatchEvent(new Event("visibilitychange"));
    }""")
    page.clock.run_for(6_000)
    expect(page.locator(".connection")).to_have_text("Paused")
    page.evaluate("""() => { window.hiddenNow = false; document.dispatchEvent(new Event("visibilitychange")); }""")
    page.clock.run_for(1_000)
    page.clock.resume()
    expect(page.locator(".connection")).to_have_text("Live")
