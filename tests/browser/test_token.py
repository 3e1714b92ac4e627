"""A queue that asks for a token: entered once, kept for the tab, sent to its own gateway only."""

from collections.abc import Iterator

import pytest

from tests.browser.chromium import Browser, Page, expect
from tests.browser.queue_processes import Queue, running_queue

TOKEN = 'open"sesame/+=~'


@pytest.fixture(scope="module")
def queue(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    with running_queue(tmp_path_factory.mktemp("queue"), OSQUEUE_TOKEN=TOKEN) as found:
        yield found


def enter(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Enter").click()


def test_the_token_is_entered_once_and_kept_for_the_tab(page: Page, browser: Browser, queue: Queue) -> None:
    job_id = queue.submit(type="secret")
    page.goto("/jobs")
    expect(page.get_by_role("heading", name="This queue asks for a token")).to_be_visible()
    expect(page.get_by_text("secret", exact=True)).to_have_count(0)
    enter(page, "wrong")
    expect(page.get_by_text("the token is wrong")).to_be_visible()
    enter(page, TOKEN)
    expect(page.locator(f"a[href='/jobs/{job_id}']")).to_be_visible()
    page.reload()
    expect(page.locator(f"a[href='/jobs/{job_id}']")).to_be_visible()
    page.goto("/")
    expect(page.locator(".connection")).to_have_text("Live")
    assert TOKEN not in page.evaluate("JSON.stringify({...localStorage}) + document.cookie + location.href")
    another = browser.new_page(base_url=queue.url)
    another.goto("/")
    expect(another.get_by_role("heading", name="This queue asks for a token")).to_be_visible()
    another.close()


@pytest.mark.parametrize("transport", ["Connect", "REST", "WebSocket"])
def test_producer_and_worker_carry_it(page: Page, queue: Queue, transport: str) -> None:
    page.goto("/")
    enter(page, TOKEN)
    expect(page.locator(".connection")).to_have_text("Live")
    page.goto("/producer")
    page.locator(".segments").get_by_text(transport, exact=True).click()
    page.get_by_label("Type").fill(f"carried.{transport}")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.locator(".sent li")).to_have_count(1)
    page.goto(f"/worker?types=carried.{transport}")
    page.locator("input[name=untilMs]").fill("0")
    page.locator("input[name=fromMs]").fill("0")
    page.locator("input[name=failPercent]").fill("0")
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".counts")).to_contain_text("1 completed")


def test_commands_to_copy_name_the_variable_not_the_token(page: Page, queue: Queue) -> None:
    job_id = queue.submit(type="copied")
    page.goto(f"/jobs/{job_id}")
    enter(page, TOKEN)
    page.get_by_text("Copy as").click()
    page.locator(".menu-body").get_by_role("button", name="curl", exact=True).first.click()
    expect(page.locator(".menu-body").get_by_role("button", name="Copied")).to_be_visible()
    command = page.evaluate("navigator.clipboard.readText()")
    assert '-H "Authorization: Bearer $OSQUEUE_TOKEN"' in command
    assert TOKEN not in command
