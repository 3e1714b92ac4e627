"""Every command that talks to a broker does the same over gRPC, over a gateway's REST and over its WebSocket."""

import asyncio
import re
from collections.abc import Iterator

import click
import pytest

from osqueue import JobError, NodeNeed, OsqueueClient, WorkflowNode, new_job
from osqueue_cli.cli import cli
from osqueue_cli.commands.batches import batches
from osqueue_cli.commands.queues import queues
from osqueue_cli.commands.schedules import schedules
from osqueue_cli.commands.workflows import workflows
from osqueue_cli.exits import Exit
from osqueue_gateway.app import Gateway
from osqueue_gateway.config import GatewayConfig
from osqueue_service.testing.in_process import BrokerThread
from tests.unit.cli.conftest import Answer, call_cli

TIMING = {"BROKER_HEARTBEAT_INTERVAL_MS": "50", "BROKER_HEARTBEAT_TIMEOUT_MS": "500"}
SCHEMES = ("grpc", "http", "ws")


class Site:
    """A broker and a gateway before it, and the command line at either."""

    def __init__(self, broker: BrokerThread, gateway_port: int) -> None:
        self.urls = {
            "grpc": f"grpc://{broker.address}",
            "http": f"http://127.0.0.1:{gateway_port}",
            "ws": f"ws://127.0.0.1:{gateway_port}",
        }

    def call(self, scheme: str, *arguments: str) -> Answer:
        return call_cli(*arguments, env={"BROKER_URL": self.urls[scheme], "OSQUEUE_TOKEN": ""})

    def prepare(self, name: str) -> None:
        """Five jobs of a type of this name: one waits, one runs, one is completed, two are dead of different errors."""

        async def work() -> None:
            async with OsqueueClient(self.urls["grpc"]) as client:
                for n in range(5):
                    await client.submit_job(name, {"n": n}, max_attempts=1, metadata={"n": str(n)})
                jobs = await client.claim_jobs("worker-1", [name], max_jobs=4)
                await client.complete_job(jobs[1], {"done": True})
                await client.fail_job(jobs[2], JobError("SmtpError", "no luck"))
                await client.fail_job(jobs[3], JobError("KeyError", "'to'"))

        asyncio.run(work())

    def submit_workflow(self, scheme: str) -> str:
        """Two jobs, of which one needs the other; its id."""

        async def submit() -> str:
            async with OsqueueClient(self.urls[scheme]) as client:
                nodes = [WorkflowNode("a", new_job("flow", 1)), WorkflowNode("b", new_job("flow", 2), [NodeNeed("a")])]
                return (await client.submit_workflow(f"flow-{scheme}", nodes)).workflow_id

        return asyncio.run(submit())

    def ids(self, name: str) -> list[str]:
        statuses = [f"--status={each}" for each in ("unclaimed", "in_progress", "completed", "dead")]
        return [job["id"] for job in self.call("grpc", "jobs", "-t", name, *statuses, "--json").json_lines]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with BrokerThread(settings=TIMING) as broker:

        async def start(app: object) -> Gateway:
            gateway = Gateway(GatewayConfig("127.0.0.1", 0, (broker.address,)))
            await gateway.start()
            return gateway

        gateway = broker.run(start)
        try:
            yield Site(broker, gateway.port)
        finally:
            broker.run(lambda app: gateway.stop())


READING = {
    "stats": ["stats"],
    "storage": ["stats", "--storage"],
    "jobs": ["jobs", "--type", "reading", "-s", "dead", "-s", "completed", "-s", "unclaimed", "-s", "in_progress"],
    "job show": ["job", "show", "{dead}"],
    "job explain": ["job", "explain", "{waiting}"],
    "job wait": ["job", "wait", "{done}"],
    "dead list": ["dead", "list", "--type", "reading"],
    "dead list --by-error": ["dead", "list", "--by-error", "--type", "reading"],
    "workers": ["workers"],
    "history": ["history", "--since", "1h", "--step", "1h"],
    "whoami": ["whoami"],
    "audit": ["audit", "--since", "1h"],
    "tokens list": ["tokens", "list"],
    "limits list": ["limits", "list"],
    "fairness keys": ["fairness", "keys"],
    "limits show": ["limits", "show", "reading"],
    "limits keys": ["limits", "keys", "nosuch"],
    "nothing found": ["job", "show", "nope"],
}
"""What asks, and changes nothing."""

MOVING = re.compile(
    r'("(oldestReadyAgeMs|brokerHeartbeat|p50Ms|p99Ms|latencyMsP50|latencyMsP99|submitted|claimed|completed|failed|at'
    r'|requests|errors|bytes|commits|storageRequests|leaseExpiresAt)": ?)[-0-9.e]+'
)
"""Figures of the moment: the calls themselves change some, and a lease's end is told by the clock to a millisecond."""


@pytest.fixture(scope="module")
def reading(site: Site) -> dict[str, str]:
    site.prepare("reading")
    site.call("grpc", "limits", "put", "reading", "--max", "1")
    site.call("grpc", "fairness", "weigh", "reading", "2")
    names = ("running", "done", "dead", "other", "waiting")
    return dict(zip(names, site.ids("reading"), strict=True))


@pytest.mark.parametrize("name", READING)
def test_what_is_read_is_the_same(site, reading, name):
    arguments = [each.format(**reading) for each in READING[name]]
    answers = {scheme: site.call(scheme, *arguments, "--json") for scheme in SCHEMES}
    told = {
        scheme: (answer.exit_code, MOVING.sub(r"\1", answer.out), MOVING.sub(r"\1", answer.err))
        for scheme, answer in answers.items()
    }
    assert told["grpc"][1] or told["grpc"][2]
    assert told["http"] == told["grpc"]
    assert told["ws"] == told["grpc"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_queue_is_steered(site, scheme):
    name = f"steering-{scheme}"
    site.prepare(name)
    running, done, dead, other, waiting = site.ids(name)
    call = lambda *arguments: site.call(scheme, *arguments, "--json")  # noqa: E731
    assert name in call("pause", name).json["pausedTypes"]
    assert name not in call("resume", name).json["pausedTypes"]
    assert call("limits", "put", name, "--max", "2", "--rate", "100/m+5", "--per-key").json == {"created": True}
    assert call("limits", "override", name, "a", "--max", "7", "--until", "1h").json == {"name": name, "key": "a"}
    (key,) = call("limits", "keys", name).json_lines
    assert (key["key"], key["maxRunning"], key["override"]["maxRunning"]) == ("a", 7, 7)
    assert call("limits", "override", name, "a", "--clear").json == {"name": name, "key": "a"}
    assert call("limits", "reset", name, "a").json == {"name": name, "key": "a"}
    assert call("limits", "show", name).json["limit"]["rate"] == {"limit": 100, "periodMs": 60_000, "burst": 5}
    assert call("fairness", "weigh", name, "2").json == {"key": name, "weight": 2.0}
    held = call("submit", name, "1", "--limit", f"{name}:acme*2").json["jobId"]
    assert call("job", "show", held).json["limits"] == [{"limit": name, "key": "acme", "cost": 2}]
    assert call("purge", held, "--yes").exit_code != 0
    assert call("limits", "delete", name).exit_code != 0
    assert call("limits", "delete", name, "--detach").json == {"deleted": True}
    assert call("job", "cancel", waiting, running).json_lines == [
        {"jobId": waiting, "status": "cancelled", "cancelRequested": False},
        {"jobId": running, "status": "in_progress", "cancelRequested": True},
    ]
    assert call("job", "retry", dead).json_lines[0]["status"] == "unclaimed"
    assert call("dead", "retry", "--type", name, "--yes").json == {"dryRun": False, "retried": [other], "refused": {}}
    assert call("purge", "--type", name, "--status", "completed", "--dry-run").json["purged"] == [done]
    assert call("purge", done, "--yes").json == {"dryRun": False, "purged": [done], "refused": {}}
    assert call("job", "show", done).exit_code == Exit.NOT_FOUND
    submitted = call("submit", name, "1").json["jobId"]
    assert call("job", "show", submitted).json["status"] == "unclaimed"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_schedules_are_put_and_steered(site, scheme):
    name = f"hourly-{scheme}"
    call = lambda *arguments: site.call(scheme, "schedules", *arguments, "--json")  # noqa: E731
    assert call("put", name, name, "1", "--cron", "@hourly").json["revision"] == 1
    assert [each["schedule"]["id"] for each in call("list", name).json_lines] == [name]
    assert len(call("preview", name, "-n", "3").json_lines) == 3
    assert call("pause", name).json["state"] == "PAUSED"
    assert call("resume", name).json["state"] == "ACTIVE"
    job_id = call("trigger", name).json["jobId"]
    assert len(call("backfill", name, "--from", "2026-01-01T00:00Z", "--to", "2026-01-01T02:00Z").json_lines) == 2
    assert call("show", name).json["firings"][-1]["jobId"] == job_id
    assert call("delete", name).json == {"deleted": True}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_batches_are_filled_sealed_and_cancelled(site, scheme):
    name = f"batch-{scheme}"
    call = lambda *arguments: site.call(scheme, *arguments, "--json")  # noqa: E731
    batch_id = call("batches", "open", name, "--seal-after", "1h").json["batchId"]
    call("submit", name, "1", "--batch", batch_id)
    assert [(each["id"], each["status"]) for each in call("batches", "list", name).json_lines] == [(batch_id, "open")]
    assert call("batches", "seal", batch_id).json == {"sealed": batch_id}
    assert call("batches", "show", batch_id).json["live"] == 1
    assert call("batches", "cancel", batch_id).json["live"] == 1
    assert call("batches", "show", batch_id).json["status"] == "cancelled"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_workflows_are_shown_and_cancelled(site, scheme):
    workflow_id = site.submit_workflow(scheme)
    call = lambda *arguments: site.call(scheme, "workflows", *arguments, "--json")  # noqa: E731
    assert [each["id"] for each in call("list", f"flow-{scheme}", "-s", "running").json_lines] == [workflow_id]
    shown = call("show", workflow_id).json
    assert [(node["name"], node["status"]) for node in shown["nodes"]] == [("a", "unclaimed"), ("b", "blocked")]
    assert call("cancel", workflow_id).json["cancelled"] == 2
    assert call("show", workflow_id).json["workflow"]["status"] == "cancelled"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_queues_are_created_used_and_deleted(site, scheme):
    name = f"queue-{scheme}"
    call = lambda *arguments: site.call(scheme, *arguments, "--json")  # noqa: E731
    assert call("queues", "create", name, "--max-jobs", "2").json["created"]
    assert not call("queues", "create", name).json["created"]
    job_id = call("submit", "--queue", name, "a", "1").json["jobId"]
    assert [each["id"] for each in call("jobs", "-q", name).json_lines] == [job_id]
    assert call("job", "show", job_id).exit_code == Exit.NOT_FOUND
    assert call("job", "show", job_id, "-q", name).json["id"] == job_id
    assert call("queues", "show", name).json["counts"]["total"] == 1
    assert call("queues", "change", name, "--description", "many").json["description"] == "many"
    assert name in [each["name"] for each in call("queues", "list", "queue-").json_lines]
    assert call("queues", "delete", name, "--yes").exit_code == Exit.USAGE
    assert call("queues", "delete", name, "--yes", "--force").json == {"name": name, "liveJobs": 1}
    assert call("queues", "show", name).exit_code == Exit.NOT_FOUND
    assert call("stats", "-q", name).exit_code == Exit.NOT_FOUND


@pytest.mark.parametrize("scheme", SCHEMES)
def test_jobs_that_wait_are_changed(site, scheme):
    call = lambda *arguments: site.call(scheme, *arguments, "--json")  # noqa: E731
    job_id = call("submit", f"change-{scheme}", "1", "--delay", "1h").json["jobId"]
    assert call("update", job_id, "--priority", "3").json["changed"] == {job_id: "scheduled"}
    assert call("run-now", job_id).json["changed"] == {job_id: "unclaimed"}
    assert call("job", "show", job_id).json["priority"] == 3


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_leader_hands_over(site, scheme):
    before = site.call(scheme, "stats", "--json").json["position"]["epoch"]
    answer = site.call(scheme, "step-down", "--reason", "new disks", "--yes")
    assert (answer.exit_code, answer.out) == (
        0,
        f"{site.urls['grpc'].removeprefix('grpc://')} leads epoch {before + 1}\n",
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_doctor_finds_it(site, scheme):
    checks = {each["check"]: each for each in site.call(scheme, "doctor", "--no-write", "--json").json}
    assert checks["broker"]["verdict"] == "ok"


WITHOUT = {
    "top": "it never ends; a stream and `workers`, which is here",
    "bench": "it submits and claims",
    "work": "it",
}


def test_every_command_that_takes_a_broker_is_here():
    """A new one finds its place above, so that it is tried over every transport."""
    tried = {" ".join(part for part in arguments[:2] if part.isalpha()) for arguments in READING.values()}
    tried |= {f"limits {name}" for name in ("put", "override", "reset", "delete")}
    tried |= {"schedules " + name for name in schedules.commands}
    tried |= {"pause", "resume", "job cancel", "job retry", "dead retry", "purge", "submit", "step-down", "doctor"}
    tried |= {"update", "run-now"}
    tried |= {"fairness weigh"}
    tried |= {"queues " + name for name in queues.commands}
    tried |= {f"batches {name}" for name in batches.commands} | {f"workflows {name}" for name in workflows.commands}
    tried |= {"tokens create", "tokens rotate", "tokens revoke"}  # by a broker that asks for a token: test_tokens.py
    assert {name for name, command in commands(cli) if takes_broker(command)} - set(WITHOUT) <= tried


def commands(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


def takes_broker(command: click.Command) -> bool:
    return any("--broker" in parameter.opts for parameter in command.params)
