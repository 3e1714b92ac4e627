"""Queues with names over every transport."""

import pytest

from osqueue import BrokerProtocolError, QueueNotFoundError, new_job


async def test_a_queue_is_created_listed_changed_and_deleted(client):
    made = await client.queues.create("emails", description="to customers", max_jobs=5)
    assert made.created and (made.queue.description, made.queue.max_jobs, made.queue.open) == ("to customers", 5, False)
    again = await client.queues.create("emails")
    assert (again.created, again.queue.uid) == (False, made.queue.uid)
    await client.queues.create("images")
    assert [each.name async for each in client.queues.all()] == ["emails", "images"]
    assert [each.name async for each in client.queues.all("im")] == ["images"]
    changed = await client.queues.update("emails", max_jobs=0)
    assert (changed.description, changed.max_jobs) == ("to customers", 0)
    assert (await client.queues.update("emails", description="")).description == ""
    await client.queue("emails").submit_job("welcome", {"to": "ada"})
    shown = await client.queues.get("emails")
    assert (shown.open, shown.counts.total) == (True, 1)
    with pytest.raises(BrokerProtocolError, match="1 live job"):
        await client.queues.delete("emails")
    assert await client.queues.delete("emails", force=True) == 1
    with pytest.raises(QueueNotFoundError, match="'emails'"):
        await client.queues.get("emails")


async def test_a_client_works_in_the_queue_that_it_was_asked_for(client):
    await client.queues.create("emails")
    emails = client.queue("emails")
    job = await emails.submit_job("welcome", {"to": "ada"})
    assert job.id.startswith("emails_")
    assert not await client.claim_jobs("w", max_jobs=10)
    (claimed,) = await emails.claim_jobs("w", max_jobs=10)
    assert claimed.job_id == job.id
    await emails.heartbeat(claimed)
    await emails.complete_job(claimed, {"sent": True})
    assert (await emails.get_job(job.id)).status == "completed"
    assert (await emails.get_stats()).counts.completed_total == 1
    assert (await client.get_stats()).counts.completed_total == 0
    await emails.close()
    assert (await client.get_stats()).counts.total == 0  # the connections are still the client's


async def test_watches_and_schedules_are_those_of_their_queue(client):
    await client.queues.create("emails")
    emails = client.queue("emails")
    put = await emails.schedules.put("often", new_job("welcome", {"to": "ada"}), every_ms=60_000)
    assert put.id == "often"
    assert [each.id async for each in client.schedules.list()] == []
    job_id = await emails.schedules.trigger("often")
    assert job_id.startswith("emails_")
    assert [job.id async for job in emails.list_jobs()] == [job_id]
    assert [job.id async for job in client.list_jobs()] == []


async def test_an_unknown_queue_is_an_error_that_names_those_called_nearly_so(client):
    await client.queues.create("emails")
    with pytest.raises(QueueNotFoundError, match="is 'emails' meant"):
        await client.queue("email").submit_job("welcome", {})
    with pytest.raises(BrokerProtocolError, match="a-z"):
        await client.queue("E Mails").submit_job("welcome", {})
