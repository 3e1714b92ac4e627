"""Listing and showing jobs, figures and workers."""

import asyncio

import pytest

from osqueue import OsqueueClient
from osqueue_cli.exits import Exit


@pytest.fixture
def with_client(broker):
    """Do something with the SDK, beside the command line."""

    def run(work):
        async def session():
            async with OsqueueClient(f"grpc://{broker.address}") as client:
                return await work(client)

        return asyncio.run(session())

    return run


def test_an_unknown_job_is_not_found(osqueue):
    for command in ("show", "explain", "wait", "cancel", "retry"):
        answer = osqueue("job", command, "nope")
        assert answer.exit_code == Exit.NOT_FOUND, command
        assert "nope" in answer.err
        assert answer.out == ""


def test_errors_are_json_too(osqueue):
    answer = osqueue("job", "show", "nope", "--json")
    assert answer.exit_code == Exit.NOT_FOUND
    assert '"_tag": "JobNotFoundError"' in answer.err
    assert '"exitCode": 3' in answer.err


def test_a_job_for_people(osqueue, job_type, with_client):
    async def fail_once(client):
        job = await client.claim_job("worker-1", [job_type])
        await client.fail_job(job, "no\x1b[31m luck")

    job_id = osqueue("submit", job_type, '{"n": 1}', "-m", "team=infra", "--priority", "3").out.strip()
    with_client(fail_once)
    answer = osqueue("job", "show", job_id)
    for text in (job_id, job_type, "unclaimed", "1 of 3", "worker-1", '{"n": 1}', "team=infra", "failed", "luck"):
        assert text in answer.out
    assert "\x1b[31m" not in answer.out


def test_filters(osqueue, job_type, with_client):
    ids = [osqueue("submit", job_type, str(n), "-m", f"n={n}").out.strip() for n in range(3)]
    running = with_client(lambda client: client.claim_job("worker-x", [job_type]))

    def listed(*arguments):
        return [job["id"] for job in osqueue("jobs", "--type", job_type, "--json", *arguments).json_lines]

    assert listed() == ids
    assert listed("--newest") == ids[::-1]
    assert listed("--newest", "-n", "1") == ids[2:]
    assert listed("--soonest") == []
    assert listed("--status", "in_progress") == [running.job_id]
    assert listed("--worker", "worker-x") == [running.job_id]
    assert listed("-m", "n=2") == [ids[2]]
    assert listed("--since", "1h") == ids
    assert listed("--before", "1h") == []
    assert listed("-s", "completed", "-s", "dead") == []


def test_a_list_is_limited_and_says_so(osqueue, job_type):
    osqueue("submit", job_type, "--lines", "-", input="1\n2\n3\n")
    answer = osqueue("jobs", "--type", job_type, "--limit", "2")
    assert len(answer.out.splitlines()) == 3
    assert "--limit" in answer.err
    assert "--limit" not in osqueue("jobs", "--type", job_type, "--limit", "3").err


def test_nothing_found_is_no_error(osqueue, job_type):
    answer = osqueue("jobs", "--type", job_type)
    assert (answer.exit_code, answer.out) == (0, "")
    assert "no jobs" in answer.err


def test_follow_goes_with_types_only(osqueue):
    assert osqueue("jobs", "--follow", "--status", "dead").exit_code == Exit.USAGE


def test_cancelling(osqueue, job_type, with_client):
    waiting, running = (osqueue("submit", job_type, str(n)).out.strip() for n in range(2))
    claimed = with_client(lambda client: client.claim_job("w", [job_type]))
    assert claimed.job_id == waiting
    answers = osqueue("job", "cancel", waiting, running, "--json").json_lines
    assert answers == [
        {"jobId": waiting, "status": "in_progress", "cancelRequested": True},
        {"jobId": running, "status": "cancelled", "cancelRequested": False},
    ]


def test_stats(osqueue, job_type):
    osqueue("submit", job_type, "1")
    figures = osqueue("stats", "--json").json
    mine = next(each for each in figures["types"] if each["type"] == job_type)
    assert mine["counts"]["unclaimed"] == 1
    shown = osqueue("stats").out
    assert job_type in shown
    assert "durable up to" in shown


def test_storage_stats(osqueue, job_type):
    osqueue("submit", job_type, "1")
    figures = osqueue("stats", "--storage", "--json").json
    assert figures["backend"] == "memory"
    assert figures["commits"] >= 1
    assert "commits" in osqueue("stats", "--storage").out


def test_workers(osqueue, job_type, with_client):
    osqueue("submit", job_type, "1")
    with_client(lambda client: client.claim_jobs(job_type, [job_type], worker_version="1.2.3"))
    workers = {each["workerId"]: each for each in osqueue("workers", "--json").json_lines}
    assert workers[job_type]["version"] == "1.2.3"
    assert workers[job_type]["leases"] == 1
    assert job_type in osqueue("workers").out


def test_pausing(osqueue, job_type, with_client):
    osqueue("submit", job_type, "1")
    assert job_type in osqueue("pause", job_type, "--json").json["pausedTypes"]
    assert with_client(lambda client: client.claim_job("w", [job_type])) is None
    assert "paused" in osqueue("stats").out
    assert job_type not in osqueue("resume", job_type, "--json").json["pausedTypes"]
    assert with_client(lambda client: client.claim_job("w", [job_type])) is not None


@pytest.fixture
def dead_jobs(osqueue, job_type, with_client):
    """Three dead letters: two died of A, one of B."""
    from osqueue import JobError

    async def kill(client):
        for error in ("A", "A", "B"):
            job = await client.claim_job("w", [job_type])
            await client.fail_job(job, JobError(error, "for good"), retryable=False)

    osqueue("submit", job_type, "--lines", "-", input="1\n2\n3\n")
    with_client(kill)
    return [job["id"] for job in osqueue("dead", "list", "--type", job_type, "--json").json_lines]


def test_dead_letters_are_listed(osqueue, job_type, dead_jobs):
    assert len(dead_jobs) == 3
    assert len(osqueue("dead", "list", "--type", job_type, "--error", "B", "--json").json_lines) == 1
    assert "A: for good" in osqueue("dead", "list", "--type", job_type).out


def test_dead_letters_are_grouped(osqueue, job_type, dead_jobs):
    groups = osqueue("dead", "list", "--type", job_type, "--by-error", "--json").json["groups"]
    assert [(group["errorType"], group["count"]) for group in groups] == [("A", 2), ("B", 1)]
    assert "for good" in osqueue("dead", "list", "--type", job_type, "--by-error").out


def test_dead_letters_are_retried(osqueue, job_type, dead_jobs):
    dry = osqueue("dead", "retry", "--type", job_type, "--error", "A", "--dry-run", "--json").json
    assert (dry["dryRun"], len(dry["retried"])) == (True, 2)
    assert len(osqueue("dead", "list", "--type", job_type, "--json").json_lines) == 3
    assert "2 jobs are ready again" in osqueue("dead", "retry", "--type", job_type, "--error", "A", "--yes").out
    left = osqueue("dead", "list", "--type", job_type, "--json").json_lines
    assert [job["error"]["type"] for job in left] == ["B"]
    assert osqueue("job", "retry", left[0]["id"], "--json").json["status"] == "unclaimed"


def test_what_is_not_dead_is_not_retried(osqueue, job_type):
    job_id = osqueue("submit", job_type, "1").out.strip()
    answer = osqueue("job", "retry", job_id)
    assert answer.exit_code == Exit.USAGE
    assert osqueue("dead", "retry", job_id).exit_code == Exit.CONFLICT


@pytest.mark.parametrize("arguments", [[], ["some-id", "--all"]])
def test_retry_wants_to_know_which(osqueue, arguments):
    assert osqueue("dead", "retry", *arguments).exit_code == Exit.USAGE
