"""What can be done from the dashboard is done, once, and asked about in proportion to its harm."""

import json
import re
import subprocess

import pytest

from tests.browser.chromium import Page, expect
from tests.browser.queue_processes import Queue


def status_of(queue: Queue, job_id: str) -> str:
    status: str = queue.get(f"/v1/jobs/{job_id}")["job"]["status"]
    return status


def test_cancel_a_waiting_job(page: Page, queue: Queue) -> None:
    job_id = queue.submit(type="cancel.one")
    page.goto(f"/jobs/{job_id}")
    page.get_by_role("button", name="Cancel…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 job would be cancelled")
    dialog.get_by_role("button", name="Keep as they are").click()
    assert status_of(queue, job_id) == "unclaimed"
    page.get_by_role("button", name="Cancel…").click()
    dialog.get_by_role("button", name="Cancel now").click()
    expect(dialog).to_contain_text("1 job cancelled.")
    dialog.get_by_role("button", name="Close").click()
    expect(page.locator(".explain-title")).to_have_text("Cancelled")
    assert status_of(queue, job_id) == "cancelled"


def test_a_running_job_is_asked_to_stop(page: Page, queue: Queue) -> None:
    job_id = queue.submit(type="cancel.running")
    claimed = queue.claim(types=["cancel.running"])
    page.goto(f"/jobs/{job_id}")
    page.get_by_role("button", name="Cancel…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("their workers will be asked to stop")
    dialog.get_by_role("button", name="Cancel now").click()
    dialog.get_by_role("button", name="Close").click()
    expect(page.locator(".explain")).to_contain_text("asked to stop")
    assert queue.settle(claimed, "heartbeat")["cancelRequested"] is True


def test_retry_a_dead_job_without_being_asked(page: Page, queue: Queue) -> None:
    (job_id,) = queue.dead(type="retry.one")
    page.goto(f"/jobs/{job_id}")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("h1 .status")).to_have_text("waiting")
    assert status_of(queue, job_id) == "unclaimed"


def test_all_that_match_a_key_are_changed_and_no_others(page: Page, queue: Queue) -> None:
    wanted = queue.submit(type="keys", fairnessKey="acme")
    other = queue.submit(type="keys", fairnessKey="globex")
    page.goto("/jobs?type=keys")
    page.get_by_role("button", name="More filters").click()
    box = page.get_by_role("textbox", name="Fairness key")
    box.fill("acme")
    box.press("Enter")
    expect(page.get_by_label(f"Select {other}")).to_have_count(0)
    page.get_by_label("Select all on this page").check()
    page.get_by_role("button", name="Select all that match").click()
    page.get_by_role("button", name="Cancel…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 job would be cancelled")
    dialog.get_by_role("button", name="Cancel now").click()
    expect(dialog).to_contain_text("1 job cancelled.")
    assert (status_of(queue, wanted), status_of(queue, other)) == ("cancelled", "unclaimed")


def test_purge_a_finished_job(page: Page, queue: Queue) -> None:
    (job_id,) = queue.dead(type="purge.one")
    page.goto(f"/jobs/{job_id}")
    page.get_by_role("button", name="Purge…").click()
    page.get_by_role("dialog").get_by_role("button", name="Purge now").click()
    expect(page.get_by_text("This job is no longer kept")).to_be_visible()


def test_cancel_all_that_match_once_the_number_is_typed(page: Page, queue: Queue) -> None:
    queue.post("/v1/batch/submit", {"jobs": [{"payload": 1, "type": "cancel.all"} for _ in range(1_000)]})
    queue.post("/v1/batch/submit", {"jobs": [{"payload": 1, "type": "cancel.all"} for _ in range(234)]})
    bystander = queue.submit(type="cancel.other")
    page.goto("/jobs?type=cancel.all")
    page.get_by_label("Select all on this page").check()
    page.get_by_role("button", name="Select all that match").click()
    page.get_by_role("button", name="Cancel…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1,234 jobs would be cancelled")
    confirm = dialog.get_by_role("button", name="Cancel now")
    expect(confirm).to_be_disabled()
    dialog.get_by_role("textbox").fill("cancel 1234")
    confirm.click()
    expect(dialog).to_contain_text("1,234 jobs cancelled.")
    dialog.get_by_role("button", name="Close").click()
    expect(page.get_by_text("No job matches")).to_be_visible()
    assert status_of(queue, bystander) == "unclaimed"


def test_only_what_is_selected_is_changed(page: Page, queue: Queue) -> None:
    first, second = queue.dead(2, type="select.some")
    page.goto("/jobs?status=dead&type=select.some")
    page.get_by_label(f"Select {second}").check()
    expect(page.get_by_text("1 selected")).to_be_visible()
    page.get_by_role("button", name="Retry…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Retry", exact=True).click()
    expect(dialog).to_contain_text("1 job made ready again.")
    assert (status_of(queue, first), status_of(queue, second)) == ("dead", "unclaimed")


def test_retry_a_group_of_dead_letters(page: Page, queue: Queue) -> None:
    wanted = queue.dead(3, type="groups", error_type="SmtpError")
    others = queue.dead(2, type="groups", error_type="DiskFull")
    page.goto("/dead?type=groups")
    expect(page.locator(".group")).to_have_count(2)
    group = page.locator(".group", has_text="SmtpError")
    expect(group.locator(".group-count")).to_have_text("3")
    expect(group).to_contain_text("mailbox unavailable")
    group.get_by_role("button", name="Retry…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("3 jobs would be made ready again")
    assert {status_of(queue, job_id) for job_id in wanted} == {"dead"}, "so far it was a dry run"
    dialog.get_by_role("button", name="Retry", exact=True).click()
    expect(dialog).to_contain_text("3 jobs made ready again.")
    dialog.get_by_role("button", name="Close").click()
    expect(page.locator(".group")).to_have_count(1)
    assert {status_of(queue, job_id) for job_id in wanted} == {"unclaimed"}
    assert {status_of(queue, job_id) for job_id in others} == {"dead"}


def test_errors_without_a_type_are_a_group_of_their_own(page: Page, queue: Queue) -> None:
    queue.dead(1, type="nameless", error_type="Named")
    (wanted,) = queue.dead(1, type="nameless", error_type="")
    page.goto("/dead?type=nameless")
    page.locator(".group", has_text="error without a type").get_by_role("button", name="Retry…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 job would be made ready again")
    dialog.get_by_role("button", name="Retry", exact=True).click()
    expect(dialog).to_contain_text("1 job made ready again.")
    assert status_of(queue, wanted) == "unclaimed"


def test_purging_many_asks_for_the_number(page: Page, queue: Queue) -> None:
    queue.dead(12, type="purge.many")
    page.goto("/dead?type=purge.many")
    page.get_by_role("button", name="Purge…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("12 jobs would be removed for good")
    expect(dialog.get_by_role("button", name="Purge now")).to_be_disabled()
    dialog.get_by_role("textbox").fill("purge 12")
    dialog.get_by_role("button", name="Purge now").click()
    expect(dialog).to_contain_text("12 jobs removed.")
    dialog.get_by_role("button", name="Close").click()
    expect(page.get_by_text("No dead letters of this type")).to_be_visible()


def test_pause_and_resume_a_type(page: Page, queue: Queue) -> None:
    job_id = queue.submit(type="pausable")
    page.goto("/types")
    row = page.locator("tbody tr", has_text="pausable")
    row.get_by_role("button", name="Pause").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("no more of its jobs are handed out")
    dialog.get_by_role("button", name="Pause").click()
    expect(row.get_by_text("paused")).to_be_visible()
    assert queue.claim(types=["pausable"]) == {}
    row.get_by_role("button", name="Resume").click()
    dialog.get_by_role("button", name="Resume").click()
    expect(row.get_by_text("paused")).to_have_count(0)
    assert queue.claim(types=["pausable"])["jobId"] == job_id


def copied(page: Page, group: str, item: str) -> str:
    page.get_by_text("Copy as").click()
    buttons = page.locator(".menu-body > div", has_text=group).get_by_role("button")
    button = buttons.nth(("curl", "grpcurl", "osqueue").index(item))  # by its place: once pressed it says "Copied"
    button.click()
    expect(button).to_have_text("Copied")
    page.keyboard.press("Escape")
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


HOSTILE = (
    """{"quote": "it's; $(touch /tmp/osqueue-owned) `id`", "big": 100000000000000000000000000001,\n "e": "\\u0000é"}"""
)


@pytest.mark.parametrize("payload", [HOSTILE.encode(), b"-- plain; text 'with' quotes", b"\x00\xff\x1b[31m"])
def test_copied_commands_do_what_they_say(page: Page, queue: Queue, payload: bytes) -> None:
    as_json = payload.startswith(b"{")
    body = b'{"type": "copied", "payload": %b}' % payload
    if not as_json:
        body = json.dumps({"type": "copied", "payloadBase64": _base64(payload)}).encode()
    job_id = queue.post("/v1/jobs", body)["jobId"]
    page.goto(f"/jobs/{job_id}")
    expect(page.locator(".explain")).to_be_visible()
    shown = _shell(copied(page, "Look at this job", "curl"))
    assert json.loads(shown)["job"]["id"] == job_id
    again = json.loads(_shell(copied(page, "Submit its payload again", "curl")))["jobId"]
    assert _payload(queue, again) == _payload(queue, job_id)
    grpcurl = copied(page, "Submit its payload again", "grpcurl")
    assert _base64(payload) in grpcurl
    assert re.search(r"osqueue\.v1\.QueueService/SubmitJob$", grpcurl)
    command = copied(page, "Submit its payload again", "osqueue")
    printed = _shell(f"osqueue() {{ printf '%s\\n' \"$@\"; [ -t 0 ] || cat | od -An -tx1; }}; {command} </dev/null")
    if b"\x00" in payload:
        assert payload.hex(" ") in _shell(command.split("|")[0] + " | od -An -tx1")
    else:
        assert payload.decode() in printed


def _base64(payload: bytes) -> str:
    from base64 import b64encode

    return b64encode(payload).decode()


def _shell(command: str) -> str:
    return subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True, timeout=30).stdout


def _payload(queue: Queue, job_id: str) -> object:
    job = queue.get(f"/v1/jobs/{job_id}")["job"]
    return job.get("payload"), job.get("payloadBase64")


def test_run_a_delayed_job_now(page: Page, queue: Queue) -> None:
    job_id = queue.submit(type="run.now", delayMs=3_600_000)
    page.goto(f"/jobs/{job_id}")
    page.get_by_role("button", name="Run now").click()
    expect(page.locator("h1 .status")).to_have_text("waiting")
    assert status_of(queue, job_id) == "unclaimed"


def test_run_many_delayed_jobs_now(page: Page, queue: Queue) -> None:
    for _ in range(2):
        queue.submit(type="run.many", delayMs=3_600_000)
    page.goto("/jobs?type=run.many")
    page.locator("thead input[type=checkbox]").check()
    page.get_by_role("button", name="Run now…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2 jobs would run now")
    dialog.get_by_role("button", name="Run now", exact=True).click()
    expect(dialog).to_contain_text("2 jobs told to run now.")
    dialog.get_by_role("button", name="Close").click()
    expect(page.locator("tbody .status").first).to_have_text("waiting")


def test_edit_a_job_that_waits(page: Page, queue: Queue) -> None:
    job_id = queue.submit(type="edit.one", payload={"n": 1})
    page.goto(f"/jobs/{job_id}")
    page.get_by_role("button", name="Edit…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Priority").fill("7")
    dialog.get_by_label("Payload, as JSON").fill('{"n": 12345678901234567890}')
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    expect(page.locator(".payload", has_text="Payload")).to_contain_text("12345678901234567890")
    job = queue.get(f"/v1/jobs/{job_id}")["job"]
    assert (job["priority"], job["payload"]) == (7, {"n": 12345678901234567890})


def test_what_is_no_json_is_not_saved(page: Page, queue: Queue) -> None:
    job_id = queue.submit(type="edit.wrong", payload={"n": 1})
    page.goto(f"/jobs/{job_id}")
    page.get_by_role("button", name="Edit…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Payload, as JSON").fill('{"n": ')
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_contain_text("The payload is not JSON")
    dialog.get_by_role("button", name="Keep as it is").click()
    assert queue.get(f"/v1/jobs/{job_id}")["job"]["payload"] == {"n": 1}


def test_submit_a_finished_job_again_with_another_payload(page: Page, queue: Queue) -> None:
    (job_id,) = queue.dead(type="again.one")
    page.goto(f"/jobs/{job_id}")
    page.get_by_role("button", name="Submit again…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Payload, as JSON").fill('{"mended": true}')
    dialog.get_by_role("button", name="Submit", exact=True).click()
    expect(page.locator("h1 .status")).to_have_text("waiting")
    expect(page.locator(".payload", has_text="Payload")).to_contain_text('"mended": true')
    assert not page.url.endswith(job_id)
    assert status_of(queue, job_id) == "dead"
