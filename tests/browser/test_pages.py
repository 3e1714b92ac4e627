"""Every page shows what is there, and says what to do when nothing is."""

import re
from pathlib import Path
from typing import Literal

import pytest

from tests.browser.chromium import Page, expect
from tests.browser.queue_processes import Queue

PAGES = ("/", "/jobs", "/dead", "/types", "/schedules", "/workflows", "/batches", "/workers", "/producer", "/worker")


def test_an_empty_queue_tells_newcomers_what_to_do(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("heading", name="The queue is empty")).to_be_visible()
    page.goto("/jobs")
    expect(page.get_by_text("No job matches")).to_be_visible()
    page.goto("/dead")
    expect(page.get_by_text("No dead letters")).to_be_visible()
    page.goto("/types")
    expect(page.get_by_text("No job has a type yet")).to_be_visible()
    page.goto("/workers")
    expect(page.get_by_text("No worker was seen lately")).to_be_visible()


def test_the_overview(page: Page, queue: Queue) -> None:
    queue.dead(2, type="overview.dead")
    queue.submit(type="overview.wait")
    queue.submit(type="overview.later", delayMs=3_600_000)
    queue.claim("overseer", types=["overview.wait"])
    page.goto("/")
    for word, count in (("Waiting", "0"), ("Scheduled", "1"), ("Running", "1"), ("Completed", "0"), ("Dead", "2")):
        tile = page.locator(".tile", has_text=word)
        expect(tile.locator(".tile-value")).to_have_text(count)
    for title in ("Jobs per second", "Submit → start", "Start → finish"):
        expect(page.locator(".chart", has_text=title).locator("svg")).to_be_visible()
    broker = page.locator(".card", has=page.get_by_role("heading", name="Broker"))
    for fact in ("Leader", "Epoch", "Last commit", "Commit latency", "Storage requests", "Cost"):
        expect(broker.get_by_text(fact, exact=True)).to_be_visible()
    expect(page.locator(".card", has_text="Failing types").get_by_text("overview.dead")).to_be_visible()
    expect(page.locator(".card", has_text="All workers").get_by_text("overseer")).to_be_visible()
    page.get_by_role("button", name="1 h").click()
    expect(page.get_by_role("button", name="1 h")).to_have_attribute("aria-pressed", "true")


def test_the_raw_state_is_that_of_the_api(page: Page, queue: Queue) -> None:
    job_id = queue.submit({"raw": 1}, type="raw")
    page.goto("/")
    page.get_by_text("Raw state").click()
    expect(page.locator("details", has_text="Raw state").get_by_text(job_id)).to_be_visible()


def test_jobs_are_filtered_by_the_address(page: Page, queue: Queue) -> None:
    wanted = queue.submit(type="filter.a", metadata={"tenant": "acme"})
    queue.submit(type="filter.a", metadata={"tenant": "globex"})
    queue.submit(type="filter.b", metadata={"tenant": "acme"})
    page.goto("/jobs?type=filter.a&label=tenant%3Dacme")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody a.id")).to_have_attribute("href", f"/jobs/{wanted}")


def test_the_filter_bar_changes_the_address(page: Page, queue: Queue) -> None:
    queue.submit(type="bar.a")
    queue.submit(type="bar.b")
    page.goto("/jobs")
    page.get_by_placeholder("Type").fill("bar.a")
    # What is being typed outlives what happens meanwhile.
    waiting = page.get_by_role("button", name="waiting")
    before = waiting.text_content() or ""
    queue.submit(type="bar.b")
    expect(waiting).not_to_have_text(before)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/jobs\?type=bar\.a$"))
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="completed").click()
    expect(page).to_have_url(re.compile("status=completed"))
    expect(page.get_by_text("No job matches")).to_be_visible()
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="More filters").click()
    page.get_by_label("Submitted").select_option(label="Submitted in the last hour")
    expect(page).to_have_url(re.compile("from=[0-9]{13}"))
    expect(page.locator("tbody tr")).to_have_count(1)


def test_many_jobs_come_page_by_page(page: Page, queue: Queue) -> None:
    jobs = [{"payload": number, "type": "paged"} for number in range(120)]
    queue.post("/v1/batch/submit", {"jobs": jobs})
    page.goto("/jobs?type=paged")
    expect(page.locator("tbody tr")).to_have_count(50)
    expect(page.get_by_text("120 jobs", exact=True)).to_be_visible()
    first = page.locator("tbody a.id").first.get_attribute("href")
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Next").click()
    expect(page.locator("tbody tr")).to_have_count(20)
    expect(page.get_by_role("button", name="Next")).to_be_disabled()
    page.get_by_role("button", name="Previous").click()
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_role("button", name="First").click()
    expect(page.locator("tbody a.id").first).to_have_attribute("href", str(first))


def test_a_job_that_failed_and_was_completed(page: Page, queue: Queue) -> None:
    job_id = queue.submit(
        {"to": "ada", "n": 1}, type="lifecycle", priority=7, metadata={"tenant": "acme"}, idempotencyKey="once"
    )
    error = {"type": "SmtpError", "message": "451 try again"}
    queue.settle(queue.claim(types=["lifecycle"]), "fail", error=error)
    queue.settle(queue.claim("second", types=["lifecycle"]), "complete", worker_id="second", result={"sent": True})
    page.goto(f"/jobs/{job_id}")
    expect(page.locator(".explain")).to_contain_text("Completed")
    expect(page.locator(".payload", has_text="Payload").locator("pre")).to_have_text('{\n  "to": "ada",\n  "n": 1\n}')
    expect(page.locator(".payload", has_text="Result").locator("pre")).to_have_text('{\n  "sent": true\n}')
    attempts = page.locator(".attempts li")
    expect(attempts).to_have_count(2)
    expect(attempts.nth(0)).to_contain_text("failed")
    expect(attempts.nth(0)).to_contain_text("451 try again")
    expect(attempts.nth(1)).to_contain_text("second")
    for fact in ("acme", "once", "7"):
        expect(page.locator("aside").get_by_text(fact, exact=True)).to_be_visible()
    page.get_by_text("Raw JSON").click()
    expect(page.locator("details pre").last).to_contain_text('"idempotencyKey": "once"')


EXPLANATIONS = (
    ({"type": "why.none"}, "No worker takes its type"),
    ({"type": "why.later", "delayMs": 3_600_000}, "Scheduled for later"),
)


@pytest.mark.parametrize(("fields", "title"), EXPLANATIONS)
def test_why_a_job_does_not_run(page: Page, queue: Queue, fields: dict[str, object], title: str) -> None:
    job_id = queue.submit(**fields)
    page.goto(f"/jobs/{job_id}")
    expect(page.locator(".explain-title")).to_have_text(title)


def test_why_a_job_of_a_paused_type_does_not_run(page: Page, queue: Queue) -> None:
    job_id = queue.submit(type="why.paused")
    queue.post("/v1/admin/pause", {"types": ["why.paused"]})
    page.goto(f"/jobs/{job_id}")
    expect(page.locator(".explain-title")).to_have_text("Its type is paused")
    expect(page.get_by_role("link", name="Resume the type")).to_have_attribute("href", "/types")


def test_progress_of_a_running_job(page: Page, queue: Queue) -> None:
    job_id = queue.submit(type="progressing")
    claimed = queue.claim(types=["progressing"])
    queue.settle(claimed, "heartbeat", progress={"fraction": 0.4, "message": "page 4 of 10"})
    page.goto(f"/jobs/{job_id}")
    expect(page.locator(".explain-title")).to_have_text("Running")
    expect(page.locator(".progress")).to_contain_text("40 %")
    expect(page.locator(".progress")).to_contain_text("page 4 of 10")


def test_a_job_that_is_not_there(page: Page) -> None:
    page.goto("/jobs/nosuchjob")
    expect(page.get_by_text("There is no job with this id")).to_be_visible()


def test_workers_with_what_they_hold(page: Page, queue: Queue) -> None:
    held = queue.submit(type="workers")
    queue.claim("holder-1", types=["workers"], workerVersion="v7")
    page.goto("/workers")
    row = page.locator("tbody tr", has_text="holder-1")
    expect(row).to_contain_text("v7")
    expect(row.locator("a.id")).to_have_attribute("href", f"/jobs/{held}")
    page.get_by_placeholder("Worker or type").fill("nobody-has-this-name")
    expect(page.get_by_text("None matches")).to_be_visible()


def test_keys(page: Page, queue: Queue) -> None:
    queue.submit(type="keys")
    page.goto("/")
    page.keyboard.press("g")
    page.keyboard.press("j")
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    expect(page.locator("tbody tr").first).to_be_visible()
    page.keyboard.press("j")
    expect(page.locator("tbody a.id").first).to_be_focused()
    page.keyboard.press("x")
    expect(page.get_by_text("1 selected")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_placeholder("Job id")).to_be_focused()
    page.keyboard.press("g")  # typed, not a command
    expect(page.get_by_placeholder("Job id")).to_have_value("g")
    page.get_by_placeholder("Job id").blur()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_an_unknown_address_is_answered_as_the_api_does(page: Page) -> None:
    answer = page.goto("/no-such-page")
    assert answer is not None
    assert answer.status == 404
    assert answer.json()["_tag"] == "BrokerProtocolError"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_and_a_phones_width(page: Page, queue: Queue, scheme: Literal["light", "dark"]) -> None:
    queue.submit(type="a.type.with.a.rather.long.name.that.phones.must.bear")
    queue.dead(type="pale")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 780})
    for path in PAGES:
        page.goto(path)
        expect(page.locator(".connection")).to_have_text("Live")
        expect(page.locator("main h1")).to_be_visible()
        expect(page.locator(".loading")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        assert page.evaluate(PALE_TEXTS) == [], path


PALE_TEXTS = (Path(__file__).parent / "pale_texts.js").read_text()


def test_the_newest_job_comes_first_unless_another_order_is_chosen(page: Page, queue: Queue) -> None:
    late = queue.submit(type="ordered", delayMs=7_200_000)
    early = queue.submit(type="ordered", delayMs=3_600_000)
    first = page.locator("tbody a.id").first
    page.goto("/jobs?type=ordered&status=scheduled")
    expect(first).to_have_attribute("href", f"/jobs/{early}")
    page.get_by_label("Order").select_option(label="Oldest first")
    expect(page).to_have_url(re.compile("order=oldest"))
    expect(first).to_have_attribute("href", f"/jobs/{late}")
    page.get_by_label("Order").select_option(label="Next to run first")
    expect(first).to_have_attribute("href", f"/jobs/{early}")
