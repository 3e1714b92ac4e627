"""`osqueue export`: the way back to the first osqueue."""

import json
from pathlib import Path

import pytest

from osqueue import SyncClient
from osqueue_cli.exits import Exit
from osqueue_service.log import SeedQueue, decode_root
from osqueue_service.state.adoption import adopt
from osqueue_service.state.state import State
from osqueue_service.testing.in_process import BrokerThread


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    """Two waiting jobs, the second more urgent, one that runs, one that is done; the broker has left."""
    with BrokerThread(data_dir=tmp_path / "queue") as broker, SyncClient(f"grpc://{broker.address}") as client:
        client.submit_job("done", {"n": 0})
        client.complete_job(client.claim_job("w", ["done"]))
        client.submit_job("running", {"n": 1}, max_attempts=4)
        assert client.claim_job("w7", ["running"])
        client.submit_job("mail", {"n": 2})
        client.submit_job("mail", {"n": 3}, priority=5)
    return tmp_path / "queue"


def test_live_jobs_are_written_in_the_order_in_which_they_are_claimed(queue, anywhere, tmp_path):
    target = tmp_path / "queue.json"
    answer = anywhere("export", "--to", target, "--data-dir", queue)
    assert answer.exit_code == 0
    assert "wrote 3 jobs" in answer.err
    written = json.loads(target.read_text())
    assert written["completedTotal"] == 1 and written["broker"] is None
    shown = {job["payload"]["n"]: job for job in written["jobs"]}
    assert [n for n in shown if n != 1] == [3, 2]
    assert (shown[1]["status"], shown[1]["workerId"], shown[1]["attempts"], shown[1]["maxAttempts"]) == (
        "in_progress", "w7", 1, 4,
    )  # fmt: skip
    assert shown[2]["status"] == "unclaimed"


def test_what_was_exported_is_adopted_again(queue, anywhere, tmp_path):
    with BrokerThread(data_dir=queue) as broker, SyncClient(f"grpc://{broker.address}") as client:
        before = {job.id: (job.type, job.payload, job.status) for job in client.list_jobs(view="full")}
    target = tmp_path / "queue.json"
    assert anywhere("export", "--to", target, "--data-dir", queue).exit_code == 0
    exported = decode_root(target.read_bytes())
    assert isinstance(exported, SeedQueue)
    state = State()
    adopt(state, [bytes(job) for job in exported.jobs], exported.completed_total)
    after = {
        state.job_id(job): (job.spec.type, job.spec.payload, job.status.wire) for job in state.jobs.values()
    }  # fmt: skip
    assert {id: (kind, json.loads(payload), status) for id, (kind, payload, status) in after.items()} == {
        id: (kind, json.loads(payload), status) for id, (kind, payload, status) in before.items()
    }


def test_what_the_file_cannot_hold_is_named_and_nothing_is_written(tmp_path, anywhere):
    with BrokerThread(data_dir=tmp_path / "queue") as broker, SyncClient(f"grpc://{broker.address}") as client:
        client.submit_job("later", {}, delay_ms=3_600_000)
        client.submit_job("image", b"\x89PNG")
        client.submit_job("mail", {})
    target = tmp_path / "queue.json"
    refused = anywhere("export", "--to", target, "--data-dir", tmp_path / "queue")
    assert refused.exit_code == Exit.FAILED
    assert "1 job: scheduled for later" in refused.err and "1 job: its payload is not JSON" in refused.err
    assert not target.exists()
    assert anywhere("export", "--to", target, "--data-dir", tmp_path / "queue", "--early", "--partial").exit_code == 0
    assert sorted(job["type"] for job in json.loads(target.read_text())["jobs"]) == ["later", "mail"]


def test_neither_a_served_queue_nor_over_a_file(tmp_path, anywhere):
    target = tmp_path / "queue.json"
    with BrokerThread(data_dir=tmp_path / "queue") as broker:
        answer = anywhere("export", "--to", target, "--data-dir", tmp_path / "queue")
        assert (answer.exit_code, broker.address in answer.err) == (Exit.CONFLICT, True)
    target.write_text("mine")
    answer = anywhere("export", "--to", target, "--data-dir", tmp_path / "queue")
    assert answer.exit_code == Exit.CONFLICT
    assert target.read_text() == "mine"
