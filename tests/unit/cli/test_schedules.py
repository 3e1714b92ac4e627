"""`osqueue schedules`."""

import json
from typing import get_type_hints

from osqueue.job import SubmitOptions
from osqueue.schedules import ScheduleOptions
from osqueue_cli.commands.schedules import preview, put

NOT_OF_TEMPLATES = {"run_at", "delay_ms", "idempotency_key", "unique", "batch_id"}
OTHERWISE = {"retry_policy": "backoff", "metadata": "meta"}


def test_put_offers_everything_that_a_schedule_and_its_template_can_say():
    offered = {parameter.name for parameter in put.params}
    assert get_type_hints(ScheduleOptions).keys() <= offered
    template = get_type_hints(SubmitOptions).keys() - NOT_OF_TEMPLATES
    assert {OTHERWISE.get(name, name) for name in template} <= offered
    assert get_type_hints(ScheduleOptions).keys() <= {parameter.name for parameter in preview.params}


def test_a_schedule_from_put_to_delete(osqueue, job_type):
    name = f"nightly-{job_type}"
    put_ = osqueue(
        "schedules",
        "put",
        name,
        job_type,
        '{"of": 1}',
        "--cron",
        "0 2 * * *",
        "--tz",
        "Europe/Berlin",
        "--priority",
        "3",
    )
    assert put_.exit_code == 0, put_.err
    assert "active" in put_.out and "T02:00:00+0" in put_.out
    shown = json.loads(osqueue("schedules", "show", name, "--json").out)
    assert (shown["schedule"]["job"]["priority"], shown["schedule"]["timeZone"]) == (3, "Europe/Berlin")
    job_id = osqueue("schedules", "trigger", name).out.strip()
    page = osqueue("schedules", "show", name)
    assert job_id in page.out and "triggered" in page.out
    listed = osqueue("jobs", "--type", job_type, "--schedule", name)
    assert job_id in listed.out
    assert "paused" in osqueue("schedules", "pause", name, "--reason", "holidays").out
    assert "holidays" in osqueue("schedules", "show", name).out
    assert name in osqueue("schedules", "list", "nightly-", "--state", "paused").out
    assert "active" in osqueue("schedules", "resume", name).out
    made = osqueue("schedules", "backfill", name, "--from", "2026-01-01T00:00Z", "--to", "2026-01-03T00:00Z")
    assert len(made.out.split()) == 2
    assert "was deleted" in osqueue("schedules", "delete", name).out
    gone = osqueue("schedules", "show", name)
    assert gone.exit_code == 3 and "never put, or it was deleted" in gone.err


def test_a_preview_shows_the_night_on_which_clocks_change(osqueue):
    shown = osqueue(
        "schedules",
        "preview",
        "--cron",
        "30 2 * * *",
        "--tz",
        "America/New_York",
        "--after",
        "2026-03-08T00:00Z",
        "-n",
        "1",
    )
    assert "2026-03-08T03:00:00-04:00" in shown.out


def test_what_makes_no_sense_is_said_with_the_option(osqueue, job_type):
    assert osqueue("schedules", "preview").exit_code == 2
    assert osqueue("schedules", "put", "s", job_type, "--cron", "@daily").exit_code == 2
    refused = osqueue("schedules", "put", "s", job_type, "{}", "--cron", "*/62 * * * *")
    assert refused.exit_code == 2 and "'62'" in refused.err


def test_a_changed_schedule_is_not_overwritten_by_who_expected_another(osqueue, job_type):
    name = f"once-{job_type}"
    assert osqueue("schedules", "put", name, job_type, "{}", "--every", "1h", "--revision", "0").exit_code == 0
    refused = osqueue("schedules", "put", name, job_type, "{}", "--every", "2h", "--revision", "0")
    assert refused.exit_code != 0 and "has revision 1" in refused.err
