"""Takes the pictures of docs/dashboard.md into docs/screenshots/.

    python -m scripts.take_screenshots

Needs what the browser tests need, ministack of scripts/install_test_servers.sh, and pngquant.
"""

import asyncio
import multiprocessing
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3

from tests.browser.chromium import Browser, Page, expect, running_browser
from tests.browser.queue_processes import Queue, running_queue
from tests.browser.scene import play
from tests.servers import ministack

TARGET = Path(__file__).resolve().parents[1] / "docs" / "screenshots"
BYTES_MAX = 150_000
SCENE_S = 600
SETTLED_S = 150
"""How long the scene plays before the first picture: the charts should have something to show."""


def main() -> None:
    """All of them."""
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, ministack() as store, running_browser() as browser:
        access = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=store.endpoint, **access).create_bucket(Bucket="acme-jobs")
        settings = {
            "STORAGE_BACKEND": "s3",
            "S3_BUCKET": "acme-jobs",
            "S3_PREFIX": "mail/",
            "S3_REGION": "us-east-1",
            "S3_ENDPOINT_URL": store.endpoint,
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "COMMIT_SPACING_MS": "50",
            "BROKER_HTTP_ADDRESS": "queue-1.acme.example:8080",
        }
        with running_queue(Path(directory), ports=(8081, 8080), **settings) as queue:
            _pages(browser, queue)
    subprocess.run(["pngquant", "--force", "--skip-if-larger", "--ext=.png", "--quality=70-95", *TARGET.glob("*.png")])
    for picture in sorted(TARGET.glob("*.png")):
        size = picture.stat().st_size
        print(f"{picture.name}: {size:,} bytes{'' if size < BYTES_MAX else ' - TOO LARGE'}")


def _pages(browser: Browser, queue: Queue) -> None:
    queue.post("/v1/admin/pause", {"types": ["invoice.archive"]})
    with _scene(queue), _tab(browser, queue) as light, _tab(browser, queue, "dark") as dark:
        light.goto("/")
        light.wait_for_timeout(SETTLED_S * 1_000)
        _shoot(light, "overview")
        _take(dark, "overview-dark", "/")
        with _tab(browser, queue, width=390, height=844) as phone:
            _take(phone, "overview-phone", "/")
            _take(phone, "job-phone", _job(queue, "dead", "email"))
        _take(light, "jobs", "/jobs?status=in_progress&status=scheduled&status=dead")
        _take(light, "job-dead", _job(queue, "dead", "email"))
        _take(light, "job-paused", _job(queue, "unclaimed", "invoice.archive"))
        _take(dark, "job-running-dark", _job(queue, "in_progress", "report"))
        _take(light, "dead", "/dead")
        light.locator(".group", has_text="SmtpError").get_by_role("button", name="Retry…").click()
        expect(light.locator(".outlook")).to_be_visible()
        _shoot(light, "retry")
        _take(light, "types", "/types")
        _take(light, "workers", "/workers")
        _tools(light, dark)
        _take(light, "disconnected", "/")
        with queue.without("osqueue_service"):
            expect(light.locator(".banner")).to_contain_text("No broker leads")
            _shoot(light, "disconnected")


def _tools(producer: Page, worker: Page) -> None:
    """Producer and worker, at work for each other."""
    worker.goto("/worker?types=image.thumbnail")
    worker.locator("input[name=slots]").fill("4")
    worker.get_by_role("button", name="Start").click()
    producer.goto("/producer")
    producer.get_by_role("button", name="Image").click()
    producer.get_by_label("Type").fill("image.thumbnail")
    producer.get_by_label("Milliseconds between two jobs").fill("600")
    producer.get_by_role("button", name="Auto-submit").click()
    producer.wait_for_timeout(12_000)
    _shoot(producer, "producer")
    _shoot(worker, "worker")
    producer.get_by_role("button", name="Stop auto-submit").click()
    worker.get_by_role("button", name="Stop and give back").click()
    expect(worker.get_by_role("button", name="Start")).to_be_enabled()


@contextmanager
def _scene(queue: Queue) -> Iterator[None]:
    """The scene, in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=_play, args=(f"127.0.0.1:{queue.grpc_port}",))
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _play(address: str) -> None:
    asyncio.run(play(address, SCENE_S))


@contextmanager
def _tab(
    browser: Browser, queue: Queue, scheme: str = "light", *, width: int = 1240, height: int = 860
) -> Iterator[Page]:
    context = browser.new_context(
        base_url=queue.url,
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": width, "height": height},
        device_scale_factor=2 if width < 500 else 1.5,
    )
    yield context.new_page()
    context.close()


def _job(queue: Queue, status: str, job_type: str) -> str:
    """The page of a job in that status; of the dead, one that was tried more than once."""
    jobs = queue.get(f"/v1/jobs?statuses={status}&types={job_type}&pageSize=200")["jobs"]
    found = max(jobs, key=lambda job: (job["attempts"], job["createdAt"]))
    return f"/jobs/{found['id']}"


def _take(page: Page, name: str, path: str) -> None:
    page.goto(path)
    expect(page.locator(".connection")).to_have_text("Live")
    expect(page.locator(".loading")).to_have_count(0)
    page.wait_for_timeout(2_500)  # until the first changes came in
    _shoot(page, name)


def _shoot(page: Page, name: str) -> None:
    page.screenshot(path=TARGET / f"{name}.png")


if __name__ == "__main__":
    main()
