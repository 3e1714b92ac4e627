"""Schedules over every transport."""

from datetime import UTC, datetime, timedelta

import pytest

from osqueue import BrokerProtocolError, RevisionConflictError, ScheduleNotFoundError, new_job

REPORT = new_job("report", {"of": "sales"}, priority=3, metadata={"team": "blue"})


async def test_a_schedule_is_put_shown_and_put_again(client):
    options = {"cron": "0 9 * * MON-FRI", "time_zone": "Europe/Berlin", "overlap": "buffer_one", "dst_gap": "skip"}
    put = await client.schedules.put("weekdays", REPORT, jitter_ms=5_000, pause_after_dead=3, **options)
    assert (put.id, put.revision, put.state, len(put.next)) == ("weekdays", 1, "active", 5)
    first = datetime.fromisoformat(put.next[0].local)
    assert (first.hour, first.weekday() < 5, int(first.timestamp() * 1_000)) == (9, True, put.next[0].at)
    shown = await client.schedules.get("weekdays")
    assert shown == put
    spec = shown.schedule
    assert spec.job is not None
    assert (spec.job.type, spec.job.payload, spec.job.priority) == ("report", b'{"of":"sales"}', 3)
    assert spec.job.metadata == {"team": "blue"}
    assert (spec.jitter_ms, spec.pause_after_dead, spec.missed) == (5_000, 3, "latest")
    assert {name: getattr(spec, name) for name in options} == options
    again = await client.schedules.put("weekdays", REPORT, jitter_ms=5_000, pause_after_dead=3, **options)
    assert again.revision == 1
    changed = await client.schedules.put("weekdays", REPORT, cron="@daily", revision=1)
    assert (changed.revision, changed.schedule.time_zone) == (2, "UTC")
    with pytest.raises(RevisionConflictError, match="revision 2"):
        await client.schedules.put("weekdays", REPORT, cron="@hourly", revision=1)


async def test_schedules_are_listed_by_prefix_and_state_and_deleted(client):
    for name in ("a1", "b1", "b2"):
        await client.schedules.put(name, REPORT, every_ms=60_000)
    await client.schedules.pause("b2", "not now")
    assert [each.id async for each in client.schedules.list()] == ["a1", "b1", "b2"]
    assert [each.id async for each in client.schedules.list(prefix="b")] == ["b1", "b2"]
    (paused,) = [each async for each in client.schedules.list(states=["paused"])]
    assert (paused.id, paused.pause_reason, paused.next) == ("b2", "not now", [])
    assert "not now" in paused.message
    assert (await client.schedules.resume("b2")).state == "active"
    assert await client.schedules.delete("b1")
    assert not await client.schedules.delete("b1")
    with pytest.raises(ScheduleNotFoundError, match="'b1'"):
        await client.schedules.get("b1")


async def test_jobs_by_hand_say_which_schedule_made_them(client):
    await client.schedules.put("hourly", REPORT, cron="@hourly")
    job_id = await client.schedules.trigger("hourly")
    job = await client.get_job(job_id)
    assert (job.schedule_id, job.type) == ("hourly", "report") and job.scheduled_for > 0
    day = datetime(2026, 3, 29, tzinfo=UTC)
    made = await client.schedules.backfill("hourly", day, day + timedelta(hours=3))
    assert [each.scheduled_for for each in made] == [
        int((day + timedelta(hours=hour)).timestamp() * 1_000) for hour in range(3)
    ]
    found = [each.id async for each in client.list_jobs(schedule_id="hourly")]
    assert found == [job_id, *(each.job_id for each in made)]
    claimed = await client.claim_job("w")
    assert (claimed.schedule_id, claimed.scheduled_for) == ("hourly", job.scheduled_for)
    shown = await client.schedules.get("hourly")
    assert [firing.outcome for firing in shown.firings] == ["backfilled"] * 3 + ["triggered"]
    assert (shown.firings[-1].job_id, shown.firings[-1].job_status) == (job_id, "in_progress")
    assert shown.tally.by_hand == 4
    stats = (await client.get_stats(linearizable=True)).schedules
    assert stats is not None and (stats.count, stats.by_hand_total) == (1, 4)


async def test_a_preview_changes_nothing(client):
    night = datetime(2026, 3, 8, tzinfo=UTC)
    times = await client.schedules.preview(cron="30 2 * * *", time_zone="America/New_York", after=night, count=2)
    assert [time.local for time in times] == ["2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"]
    assert [each async for each in client.schedules.list()] == []
    await client.schedules.put("s", REPORT, every_ms=1_000)
    assert len(await client.schedules.preview("s", count=100)) == 100


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, "schedule.cron"),
        ({"cron": "@daily", "every_ms": 1_000}, "schedule.cron"),
        ({"cron": "*/62 * * * *"}, "schedule.cron"),
        ({"cron": "* * * * * *"}, "schedule.cron"),
        ({"cron": "0 0 30 2 *"}, "schedule.cron"),
        ({"cron": "x" * 257}, "schedule.cron"),
        ({"cron": "@daily", "time_zone": "EST"}, "schedule.time_zone"),
        ({"cron": "@daily", "time_zone": "Local"}, "schedule.time_zone"),
        ({"cron": "@daily", "anchor_at": 1}, "schedule.anchor_at"),
        ({"every_ms": 999}, "schedule.every_ms"),
        ({"every_ms": 365 * 86_400_000 + 1}, "schedule.every_ms"),
        ({"every_ms": 1_000, "time_zone": "UTC"}, "schedule.time_zone"),
        ({"every_ms": 1_000, "jitter_ms": 1_000}, "schedule.jitter_ms"),
        ({"cron": "@daily", "jitter_ms": 3_600_001}, "schedule.jitter_ms"),
        ({"cron": "@daily", "max_fires": -1}, "schedule.max_fires"),
        ({"cron": "@daily", "catchup_window_ms": 59_999}, "schedule.catchup_window_ms"),
        ({"cron": "@daily", "pause_after_dead": 1_001}, "schedule.pause_after_dead"),
        ({"cron": "@daily", "end_at": 1}, "schedule.end_at"),
        ({"cron": "@daily", "start_at": 2, "end_at": 1}, "schedule.end_at"),
        ({"cron": "@daily", "overlap": "sometimes"}, "overlap"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_field(client, options, field):
    with pytest.raises(BrokerProtocolError) as refused:
        await client.schedules.put("s", REPORT, **options)
    assert [violation.field for violation in refused.value.violations] == [field]


@pytest.mark.parametrize("option", ["run_at", "delay_ms", "idempotency_key"])
async def test_a_template_says_nothing_that_would_be_the_same_for_each_job(client, option):
    job = new_job("report", {}, **{option: "key" if option == "idempotency_key" else 4_000_000_000_000 // 1_000})
    with pytest.raises(BrokerProtocolError) as refused:
        await client.schedules.put("s", job, every_ms=1_000)
    assert f"schedule.job.{option}" in [violation.field for violation in refused.value.violations]


@pytest.mark.parametrize("name", ["", "a/b", "..", "x" * 129, "a\nb", "a b", "ä"])
async def test_an_id_can_be_part_of_a_path(client, name):
    with pytest.raises(BrokerProtocolError, match=r"schedule\.id"):
        await client.schedules.put(name, REPORT, every_ms=1_000)
