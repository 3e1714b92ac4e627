"""The pages of schedules: what there is, why one did not fire, and changing one."""

import re

from tests.browser.chromium import Page, expect
from tests.browser.queue_processes import Queue

BIG = 12345678901234567890123


def put(queue: Queue, name: str, **fields: object) -> None:
    job = {"type": "shown", "payload": {"big": BIG}}
    queue.post("/v1/schedules", {"schedule": {"id": name, "job": job, **fields}})


def test_without_schedules_the_page_says_how_to_put_one(page: Page) -> None:
    page.goto("/schedules")
    expect(page.get_by_text("There is no schedule yet")).to_be_visible()


def test_a_schedule_shows_its_next_times_there_and_here(page: Page, queue: Queue) -> None:
    put(queue, "nightly", cron="0 2 * * *", timeZone="Asia/Tokyo")
    page.goto("/schedules")
    page.get_by_role("link", name="nightly").click()
    expect(page.get_by_role("heading", name="nightly")).to_be_visible()
    rows = page.locator(".times tbody tr")
    expect(rows).to_have_count(5)
    expect(rows.first).to_contain_text(re.compile(r"T02:00:00\+09:00"))


def test_a_job_by_hand_stands_among_the_last_times(page: Page, queue: Queue) -> None:
    put(queue, "by-hand", cron="@daily")
    page.goto("/schedules/by-hand")
    page.get_by_role("button", name="Run now").click()
    page.get_by_role("dialog").get_by_role("button", name="Run now").click()
    expect(page.locator(".firings tbody tr")).to_contain_text(["triggered"])
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.locator(".title .status")).to_have_text("paused")


def test_editing_previews_and_keeps_the_payload_to_the_digit(page: Page, queue: Queue) -> None:
    put(queue, "edited", cron="0 2 * * *", timeZone="UTC")
    page.goto("/schedules/edited")
    page.get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Cron").fill("*/62 * * * *")
    dialog.get_by_role("button", name="Preview").click()
    expect(dialog.get_by_role("alert")).to_contain_text("62")
    dialog.get_by_label("Cron").fill("30 4 * * *")
    dialog.get_by_role("button", name="Preview").click()
    expect(dialog.locator(".times tbody tr").first).to_contain_text("T04:30:00")
    dialog.get_by_role("button", name="Save").click()
    expect(page.locator(".times tbody tr").first).to_contain_text("T04:30:00")
    assert queue.get("/v1/schedules/edited")["schedule"]["schedule"]["job"]["payload"] == {"big": BIG}
