"""What operators do to a queue, and the figures they look at: purge, step-down, history."""

import asyncio
from collections.abc import Callable

import pytest

from osqueue import OsqueueClient
from osqueue_cli import asking
from osqueue_cli.exits import Exit
from osqueue_service.testing.in_process import BrokerThread
from tests.unit.cli.conftest import Call, call_cli


@pytest.fixture
def finish(broker: BrokerThread, job_type: str) -> Callable[..., list[str]]:
    """Make so many finished jobs of the test's type; their ids. Of them `dead` died."""

    def make(count: int, *, dead: int = 0) -> list[str]:
        async def work() -> list[str]:
            async with OsqueueClient(f"grpc://{broker.address}") as client:
                for number in range(count):
                    await client.submit_job(job_type, number)
                jobs = await client.claim_jobs("w", [job_type], max_jobs=count)
                for number, job in enumerate(jobs):
                    if number < dead:
                        await client.fail_job(job, "no luck", retryable=False)
                    else:
                        await client.complete_job(job)
                return [job.job_id for job in jobs]

        return asyncio.run(work())

    return make


@pytest.fixture
def somebody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "is_somebody_there", lambda: True)


def left(osqueue: Call, job_type: str) -> list[str]:
    listed = osqueue("jobs", "-t", job_type, "-s", "completed", "-s", "dead", "-s", "unclaimed", "--all", "--json")
    return [job["id"] for job in listed.json_lines]


def test_a_script_removes_nothing_without_yes(osqueue, job_type, finish):
    ids = finish(3, dead=2)
    for extra in ((), ("--json",)):
        answer = osqueue("purge", "--type", job_type, *extra)
        assert (answer.exit_code, answer.out) == (Exit.USAGE, "")
        assert "nothing was changed" in answer.err and "--yes removes 3 jobs (1 completed, 2 dead)" in answer.err
    for extra in (("--dry-run",), ("--dry-run", "--yes")):
        answer = osqueue("purge", "--type", job_type, *extra)
        assert (answer.exit_code, answer.out) == (0, "3 jobs (1 completed, 2 dead) would be removed\n")
        assert "--yes" in answer.err
    assert left(osqueue, job_type) == ids
    answer = osqueue("purge", "--type", job_type, "--yes")
    assert (answer.exit_code, answer.out) == (0, "3 jobs (1 completed, 2 dead) removed\n")
    assert left(osqueue, job_type) == []


def test_only_what_matches_is_removed(osqueue, job_type, finish):
    ids = finish(4, dead=2)
    answer = osqueue("purge", "--type", job_type, "--status", "dead", "--yes", "--json")
    assert answer.json == {"dryRun": False, "purged": ids[:2], "refused": {}}
    assert osqueue("purge", "--type", job_type, "--before", "1h", "--yes").out == "0 jobs removed\n"
    assert osqueue("purge", ids[2], "--yes").out == "1 job (1 completed) removed\n"
    assert left(osqueue, job_type) == ids[3:]


def test_a_dry_run_for_programs(osqueue, job_type, finish):
    ids = finish(1)
    assert osqueue("purge", *ids, "--dry-run", "--json").json == {"dryRun": True, "purged": ids, "refused": {}}
    assert left(osqueue, job_type) == ids


def test_what_is_not_finished_or_not_there_stays(osqueue, job_type, finish):
    (done,) = finish(1)
    waiting = osqueue("submit", job_type, "1").out.strip()
    answer = osqueue("purge", done, waiting, "nope", "--yes")
    assert answer.exit_code == Exit.USAGE
    assert answer.out == "1 job (1 completed) removed\n"
    assert f"{waiting}: " in answer.err and "nope: " in answer.err and "2 jobs unchanged" in answer.err
    assert left(osqueue, job_type) == [waiting]
    assert osqueue("purge", "nope", "--yes").exit_code == Exit.NOT_FOUND


@pytest.mark.parametrize("arguments", [["some-id", "--all"], ["some-id", "--status", "dead"], ["--yes"]])
def test_purge_wants_to_know_which(osqueue, arguments):
    answer = osqueue("purge", *arguments)
    assert answer.exit_code == Exit.USAGE
    assert "say which" in answer.err


def test_live_jobs_cannot_be_chosen(osqueue):
    assert osqueue("purge", "--status", "unclaimed", "--yes").exit_code == Exit.USAGE


def test_somebody_is_asked_with_what_would_be_removed(osqueue, job_type, finish, somebody_there):
    ids = finish(2, dead=1)
    refused = osqueue("purge", "--type", job_type, input="n\n")
    assert refused.exit_code == 1
    assert "remove 2 jobs (1 completed, 1 dead) for good?" in refused.err
    assert left(osqueue, job_type) == ids
    assert osqueue("purge", "--type", job_type, input="y\n").out == "2 jobs (1 completed, 1 dead) removed\n"
    assert left(osqueue, job_type) == []
    nothing = osqueue("purge", "--type", job_type)
    assert (nothing.exit_code, nothing.out) == (0, "0 jobs would be removed\n")


def test_for_many_the_number_is_typed(osqueue, job_type, finish, somebody_there):
    finish(asking.TYPED_FROM)
    for typed in ("y", "", str(asking.TYPED_FROM - 1)):
        assert osqueue("purge", "--type", job_type, input=f"{typed}\n").exit_code == 1
    assert len(left(osqueue, job_type)) == asking.TYPED_FROM
    assert "removed" in osqueue("purge", "--type", job_type, input=f"{asking.TYPED_FROM}\n").out
    assert left(osqueue, job_type) == []


def test_what_finishes_after_the_question_stays(osqueue, job_type, finish, monkeypatch):
    first = finish(1)
    later = []

    def answer_late() -> bool:
        later.extend(finish(1))
        return True

    monkeypatch.setattr(asking, "is_somebody_there", answer_late)
    assert osqueue("purge", "--type", job_type, input="y\n").out == "1 job (1 completed) removed\n"
    assert left(osqueue, job_type) == later != first


def test_more_than_one_call_takes(osqueue, job_type, broker):
    async def finish_many() -> None:
        async with OsqueueClient(f"grpc://{broker.address}") as client:
            jobs = [handle.id for handle in await client.submit_jobs([client_job(job_type)] * 1_000)]
            jobs += [handle.id for handle in await client.submit_jobs([client_job(job_type)] * 500)]
            await client.cancel_jobs(jobs)

    asyncio.run(finish_many())
    would = osqueue("purge", "--type", job_type, "--dry-run")
    assert would.out == "1,500 jobs (1,500 cancelled) would be removed\n"
    assert osqueue("purge", "--type", job_type, "--yes").out == "1,500 jobs (1,500 cancelled) removed\n"


def client_job(job_type: str):
    from osqueue import new_job

    return new_job(job_type, 1)


# --- figures --------------------------------------------------------------------------------------------------------


def test_history_for_programs(osqueue, job_type, finish):
    finish(3, dead=1)
    points = osqueue("history", "--since", "1m", "--step", "1s", "--json").json_lines
    assert sum(point["submitted"] for point in points) >= 3
    assert {"at", "commitLatency", "inProgress", "storageRequests"} <= points[0].keys()
    assert points[0]["commitLatency"].keys() == {"p50Ms", "p99Ms"}
    assert len(osqueue("history", "--since", "1m", "--step", "1s", "--limit", "1", "--json").json_lines) == 1


def test_history_for_people(osqueue, finish):
    finish(2)
    head, *lines = osqueue("history").out.splitlines()
    assert head.split()[:4] == ["FROM", "SUBMITTED", "STARTED", "COMPLETED"]
    assert len(lines) >= 1
    assert " ms" in lines[-1]


def test_a_step_is_at_least_a_second(osqueue):
    answer = osqueue("history", "--step", "10ms")
    assert answer.exit_code == Exit.USAGE
    assert "step_ms" in answer.err


# --- handing over ---------------------------------------------------------------------------------------------------

TIMING = {"BROKER_HEARTBEAT_INTERVAL_MS": "50", "BROKER_HEARTBEAT_TIMEOUT_MS": "500"}


def test_the_leader_steps_down_and_the_next_one_is_named(caplog):
    with BrokerThread(settings=TIMING) as broker:
        url = f"grpc://{broker.address}"
        answer = call_cli("step-down", "--broker", url, "--reason", "new disks", "--yes")
        assert (answer.exit_code, answer.out) == (0, f"{broker.address} leads epoch 2\n")
        assert f"{broker.address} has handed over after epoch 1" in answer.err
        assert "asked to step down: new disks" in caplog.text
        told = call_cli("step-down", "--broker", url, "--yes", "--json").json
        assert (told["leader"], told["epoch"], told["commit"]["epoch"]) == (broker.address, 3, 2)


def test_stepping_down_is_asked_about(somebody_there):
    with BrokerThread(settings=TIMING) as broker:
        url = f"grpc://{broker.address}"
        answer = call_cli("step-down", "--broker", url, input="n\n")
        assert answer.exit_code == 1
        assert "the leader of epoch 1?" in answer.err
        assert call_cli("stats", "--broker", url, "--json").json["position"]["epoch"] == 1
        assert call_cli("step-down", "--broker", url, input="y\n").out == f"{broker.address} leads epoch 2\n"


def test_nobody_takes_over_in_time():
    with BrokerThread(settings={"BROKER_HEARTBEAT_TIMEOUT_MS": "60000"}) as broker:
        answer = call_cli("step-down", "--broker", f"grpc://{broker.address}", "--limit", "100ms", "--yes")
        assert answer.exit_code == Exit.TIMEOUT
        assert "has handed over all the same" in answer.err


def test_a_leader_that_does_not_answer_may_have_handed_over(monkeypatch):
    from osqueue import TransportConnectionError
    from osqueue.transports.wire import WireTransport

    asked = []

    async def broken(self, reason, *, timeout_ms):
        asked.append("StepDown")
        raise TransportConnectionError("the connection broke")

    monkeypatch.setattr(WireTransport, "step_down", broken)
    with BrokerThread(settings=TIMING) as broker:
        answer = call_cli("step-down", "--broker", f"grpc://{broker.address}", "--yes")
    assert answer.exit_code == Exit.UNKNOWN
    assert "epoch" in answer.err
    assert asked == ["StepDown"], "tried once: a second call could depose the next leader"


# --- without anybody to ask -----------------------------------------------------------------------------------------

WANTS_YES = {
    "purge": ["purge", "--all"],
    "dead retry": ["dead", "retry", "--all"],
    "run-now": ["run-now", "--all"],
    "update": ["update", "--all", "--priority", "3"],
    "step-down": ["step-down"],
    "tokens revoke": ["tokens", "revoke", "ghost"],
    "queues delete": ["queues", "delete", "ghost"],
}


@pytest.mark.parametrize("more", [[], ["--json"]], ids=["people", "programs"])
@pytest.mark.parametrize("name", WANTS_YES)
def test_a_script_must_say_yes(osqueue, finish, name, more):
    finish(2, dead=1)
    before = osqueue("stats", "--json").json
    answer = osqueue(*WANTS_YES[name], *more)
    assert (answer.exit_code, answer.out) == (Exit.USAGE, "")
    assert "nothing was changed" in answer.err and "--yes" in answer.err
    after = osqueue("stats", "--json").json
    assert (after["counts"], after["position"]["epoch"]) == (before["counts"], before["position"]["epoch"])


def test_whatever_asks_is_here():
    from osqueue_cli.cli import cli
    from tests.unit.cli.test_transports import commands

    asking = {name for name, command in commands(cli) if any("--yes" in each.opts for each in command.params)}
    # What makes a stage speaks to no broker; tests/deploy has the same for it.
    assert asking == {*WANTS_YES, "deploy aws"}


def waiting(osqueue: Call, job_type: str, *options: str) -> str:
    return osqueue("submit", job_type, '{"n": 1}', *options).out.strip()


def test_jobs_run_now_that_waited_for_their_time(osqueue, job_type):
    one, other = (waiting(osqueue, job_type, "--delay", "1h") for _ in range(2))
    answer = osqueue("run-now", one)
    assert (answer.exit_code, answer.out) == (0, "1 job is changed (1 unclaimed)\n")
    answer = osqueue("run-now", "--type", job_type)
    assert (answer.exit_code, answer.out) == (Exit.USAGE, "") and "--yes changes them" in answer.err
    answer = osqueue("run-now", "--type", job_type, "--dry-run")
    assert answer.out == "1 job would be changed (1 unclaimed)\n"
    answer = osqueue("run-now", "--type", job_type, "--yes", "--json")
    assert answer.json == {"dryRun": False, "changed": {other: "unclaimed"}, "refused": {}}


def test_jobs_are_changed_while_they_wait(osqueue, job_type):
    job_id = waiting(osqueue, job_type, "-m", "a=1")
    answer = osqueue("update", job_id, "--priority", "7", "--delay", "1h", "--set-meta", "b=2")
    assert (answer.exit_code, answer.out) == (0, "1 job is changed (1 scheduled)\n")
    assert osqueue("update", job_id, "--payload", '{"n": 2}').out == f"{job_id} is scheduled, with another payload\n"
    shown = osqueue("job", "show", job_id, "--json").json
    assert (shown["priority"], shown["metadata"], shown["payload"]) == (7, {"b": "2"}, {"n": 2})
    assert osqueue("update", job_id, "--no-meta", "--delay", "0s").out == "1 job is changed (1 unclaimed)\n"
    assert not osqueue("job", "show", job_id, "--json").json.get("metadata")


def test_what_cannot_be_changed_says_why(osqueue, job_type, finish):
    (done,) = finish(1)
    answer = osqueue("update", done, "nope", "--priority", "1")
    assert answer.exit_code == Exit.USAGE and "only a job that waits can be changed" in answer.err
    assert "no job has the id" in answer.err and "2 jobs unchanged" in answer.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["update", "--priority", "1"],
        ["update", "id", "--all", "--priority", "1"],
        ["update", "id"],
        ["update", "id", "--set-meta", "a=b", "--no-meta"],
        ["update", "id", "other", "--payload", "1"],
        ["update", "id", "--payload", "1", "--priority", "2"],
        ["update", "--all", "--payload", "1"],
        ["run-now"],
        ["run-now", "id", "--all"],
    ],
)
def test_changes_that_make_no_sense_are_refused(osqueue, arguments):
    assert osqueue(*arguments).exit_code == Exit.USAGE
