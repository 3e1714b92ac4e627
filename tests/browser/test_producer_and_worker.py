"""The producer and the worker in the browser, over each transport."""

import re
from collections.abc import Iterator

import pytest

from tests.browser.chromium import STRANGER, Browser, Page, expect
from tests.browser.queue_processes import Queue, running_queue
from tests.servers import LOOPBACK, wait_until

TRANSPORTS = ("Connect", "REST", "WebSocket")


def choose(page: Page, transport: str) -> None:
    page.locator(".segments").get_by_text(transport, exact=True).click()


def submit(page: Page) -> str:
    """The id of the job that the button puts into the queue."""
    before = page.locator(".sent li").count()
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.locator(".sent li")).to_have_count(before + 1)
    return (page.locator(".sent .id").first.text_content() or "").strip()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_submit_what_was_typed(page: Page, queue: Queue, transport: str) -> None:
    page.goto("/producer")
    expect(page.get_by_text("Reached: leader")).to_be_visible()
    choose(page, transport)
    page.get_by_label("Type").fill("produced")
    page.get_by_label("Payload", exact=True).fill('{"big": 100000000000000000000000000001, "ü": [1,  2]}')
    page.get_by_text("More: priority").click()
    page.get_by_label("Priority").fill("7")
    page.get_by_label("Attempts at most").fill("5")
    job = queue.get(f"/v1/jobs/{submit(page)}")["job"]
    assert job["payload"] == {"big": 10**29 + 1, "ü": [1, 2]}
    assert (job["type"], job["priority"], job["maxAttempts"]) == ("produced", 7, 5)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_submit_plain_text(page: Page, queue: Queue, transport: str) -> None:
    page.goto("/producer")
    choose(page, transport)
    page.get_by_role("button", name="Plain text").click()
    job = queue.get(f"/v1/jobs/{submit(page)}")["job"]
    assert job["payloadBase64"] == "Tm90IEpTT04gYXQgYWxsLg=="


def test_what_is_wrong_is_said_before_it_is_sent(page: Page) -> None:
    page.goto("/producer")
    button = page.get_by_role("button", name="Submit", exact=True)
    page.get_by_label("Payload", exact=True).fill('{"open": ')
    expect(page.get_by_text("Not JSON")).to_be_visible()
    expect(button).to_be_disabled()
    page.get_by_role("button", name="Hello").click()
    expect(button).to_be_enabled()
    page.get_by_label("Type").fill("no spaces")
    expect(page.get_by_text("Letters, digits and")).to_be_visible()
    expect(button).to_be_disabled()
    page.get_by_role("button", name="Hello").click()
    page.get_by_label("Milliseconds between two jobs").fill("199")
    expect(page.get_by_text("at least 200")).to_be_visible()
    expect(page.get_by_role("button", name="Auto-submit")).to_be_disabled()


def test_auto_submit_keeps_the_last_fifty_ids(page: Page, queue: Queue) -> None:
    page.clock.install()
    page.goto("/producer")
    page.get_by_label("Type").fill("auto")
    page.get_by_label("Milliseconds between two jobs").fill("200")
    page.get_by_role("button", name="Auto-submit").click()
    counted = page.get_by_text(re.compile("[0-9]+ in all"))
    expect(counted).to_be_visible()
    while int((counted.text_content() or "").split()[0]) <= 50:
        page.clock.run_for(200)
    expect(page.locator(".sent li")).to_have_count(50)
    page.get_by_role("button", name="Stop auto-submit").click()
    assert queue.get("/v1/jobs?types=auto&pageSize=1000")["unclaimed"] > 50


def test_what_becomes_of_submitted_jobs_is_shown(page: Page, queue: Queue) -> None:
    page.goto("/producer")
    expect(page.locator(".connection")).to_have_text("Live")
    page.get_by_label("Type").fill("followed")
    job_id = submit(page)
    line = page.locator(".sent li", has_text=job_id)
    queue.settle(queue.claim(types=["followed"]), "complete")
    expect(line.locator(".status")).to_have_text("completed")


def start_worker(page: Page, types: str, **settings: str) -> None:
    page.goto(f"/worker?types={types}")
    for name, value in {"fromMs": "50", "untilMs": "50", "failPercent": "0", **settings}.items():
        page.locator(f"input[name={name}]").fill(value)
    page.get_by_role("button", name="Start").click()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_worker_completes_jobs(page: Page, queue: Queue, transport: str) -> None:
    job_type = f"worked.{transport}"
    ids = [queue.submit({"n": number}, type=job_type) for number in range(5)]
    page.goto("/worker")
    choose(page, transport)
    start_worker(page, job_type, id="browser-1", slots="3")
    expect(page.locator(".counts")).to_contain_text("5 completed")
    for job_id in ids:
        job = queue.get(f"/v1/jobs/{job_id}")["job"]
        assert (job["status"], job["result"]["by"]) == ("completed", "browser-1")
    late = queue.submit(type=job_type)
    expect(page.locator(".counts")).to_contain_text("6 completed")
    assert queue.get(f"/v1/jobs/{late}")["job"]["status"] == "completed"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_worker_tells_progress_and_stops_when_asked(page: Page, queue: Queue, transport: str) -> None:
    job_type = f"slow.{transport}"
    job_id = queue.submit(type=job_type)
    page.goto("/worker")
    choose(page, transport)
    start_worker(page, job_type, fromMs="60000", untilMs="60000")
    expect(page.locator(".held-jobs li")).to_have_count(1)
    page.wait_for_function(
        "async (id) => (await (await fetch(`/v1/jobs/${id}`)).json()).job.progress?.fraction > 0", arg=job_id
    )
    queue.post(f"/v1/jobs/{job_id}/cancel", {})
    expect(page.locator(".activity")).to_contain_text("cancelled")
    assert queue.get(f"/v1/jobs/{job_id}")["job"]["status"] == "cancelled"


def test_the_worker_fails_jobs_when_it_should(page: Page, queue: Queue) -> None:
    job_id = queue.submit(type="failing", maxAttempts=2)
    start_worker(page, "failing", failPercent="100")
    expect(page.locator(".counts")).to_contain_text("2 failed")
    job = queue.get(f"/v1/jobs/{job_id}")["job"]
    assert (job["status"], job["error"]["type"]) == ("dead", "PretendedError")


def test_a_stopped_worker_gives_its_jobs_back(page: Page, queue: Queue) -> None:
    job_id = queue.submit(type="given.back")
    start_worker(page, "given.back", fromMs="60000", untilMs="60000")
    expect(page.locator(".held-jobs li")).to_have_count(1)
    page.get_by_role("button", name="Stop and give back").click()
    expect(page.locator(".counts")).to_contain_text(re.compile("[12] given back"))
    expect(page.get_by_role("button", name="Start")).to_be_enabled()

    def is_back() -> bool:  # at first it may be handed to the claim that is still under way
        job = queue.get(f"/v1/jobs/{job_id}")["job"]
        return (job["status"], job["attempts"]) == ("unclaimed", 0)

    wait_until(is_back, f"job {job_id} to be ready again")


def test_a_worker_outlives_its_broker(page: Page, queue: Queue) -> None:
    job_id = queue.submit(type="outlived")
    start_worker(page, "outlived", fromMs="2000", untilMs="2000")
    expect(page.locator(".held-jobs li")).to_have_count(1)
    with queue.without("osqueue_service"):
        expect(page.locator(".wrong").first).to_be_visible()
    expect(page.locator(".counts")).to_contain_text("1 completed")
    job = queue.get(f"/v1/jobs/{job_id}")["job"]
    assert (job["status"], job["attempts"]) == ("completed", 1)


@pytest.fixture(scope="module")
def other(browser: Browser, queue: Queue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    """A second queue, whose gateway lets pages of the first one in."""
    settings = {"CORS_ORIGINS": queue.url, "OSQUEUE_HOSTS": STRANGER}
    with running_queue(tmp_path_factory.mktemp("other"), **settings) as found:
        yield found


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_another_broker_may_be_dialled(page: Page, other: Queue, transport: str) -> None:
    page.goto("/producer")
    page.get_by_label("Broker URL").fill(other.url)
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"Reached: leader {other.url.removeprefix('http://')}")).to_be_visible()
    choose(page, transport)
    page.get_by_label("Type").fill("elsewhere")
    assert other.get(f"/v1/jobs/{submit(page)}")["job"]["type"] == "elsewhere"


def test_a_broker_that_lets_no_page_in(page: Page, queue: Queue, other: Queue) -> None:
    # Under this machine's own names its pages are let in.
    stranger = other.url.replace(LOOPBACK, STRANGER)
    page.goto(f"{stranger}/producer")
    page.get_by_label("Broker URL").fill(queue.url)
    page.keyboard.press("Enter")
    expect(page.locator(".dial .wrong")).to_contain_text(f"CORS_ORIGINS={stranger}")
