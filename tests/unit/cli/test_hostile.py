"""A queue full of terminal escapes: none reaches the operator's terminal, whatever the command."""

import ast
import asyncio
import io
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import osqueue_cli
from osqueue import JobError, OpenBatchRequest, OsqueueClient, OsqueueError, WorkflowNode, new_job
from osqueue.messages import JobEvent
from osqueue_cli import output, worker_view
from osqueue_cli.cli import cli
from osqueue_cli.commands import top
from osqueue_service.testing.in_process import BrokerThread
from tests.unit.cli.test_transports import commands, takes_broker

EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[31m\r\x9b31m\x7f\u202e\u2028\u200bend"
"""Sets a window's title, clears the screen, colours, returns the carriage, 8-bit controls, DEL, turns the direction."""

OURS = re.compile(r"\x1b\[[0-9;]*m")
"""Colours, which are our own where a command wrote them; EVIL's are followed by a carriage return."""


def assert_harmless(text: str) -> None:
    assert "\x1b[31m\r" not in text
    rest = OURS.sub("", text).replace("\n", "")
    assert rest.isprintable(), [c for c in rest if not c.isprintable()][:5]


@pytest.fixture(scope="module")
def hostile():
    """A broker with jobs whose every text is evil; the ids of one that runs, one that is dead, one that is done, of a
    workflow and of a batch."""
    with BrokerThread(settings={"BROKER_HEARTBEAT_INTERVAL_MS": "50", "BROKER_HEARTBEAT_TIMEOUT_MS": "500"}) as broker:

        async def fill():
            async with OsqueueClient(f"grpc://{broker.address}") as client:
                for n in range(4):
                    await client.submit_job(
                        "evil", f"{n}{EVIL}".encode(), max_attempts=1, metadata=await accepted(client, "metadata"),
                        **await accepted(client, "idempotency_key", f"{n}"),
                    )  # fmt: skip
                running, dead, done = await client.claim_jobs(await worker_of(client), ["evil"], max_jobs=3)
                await client.heartbeat(running, progress=0.5, message=EVIL)
                await client.fail_job(dead, JobError("EvilError", EVIL))
                await client.complete_job(done, EVIL.encode())
                await client.limits.put("evil", max_running=1, per_key=True)
                await client.fairness.weigh("evil", 2)
                await client.queues.create("evil", description=EVIL)
                node = WorkflowNode(await name_of(client, "node"), new_job("evil", EVIL.encode()))
                workflow = await client.submit_workflow(await name_of(client, "workflow"), [node])
                batch = await client.open_batch(OpenBatchRequest(await name_of(client, "batch")))
                return running.job_id, dead.job_id, done.job_id, workflow.workflow_id, batch

        yield broker, asyncio.run(fill())


async def accepted(client, name, prefix=""):
    """The option with evil in it, where the broker takes that."""
    value = {"evil": EVIL} if name == "metadata" else prefix + EVIL
    try:
        await client.submit_job("probe", 1, **{name: value})
    except OsqueueError:
        return {}
    return value if name == "metadata" else {name: value}


async def name_of(client, what):
    """An evil name, where the broker takes that."""
    try:
        if what == "batch":
            await client.open_batch(OpenBatchRequest(EVIL))
        else:
            names = (EVIL, "node") if what == "workflow" else ("workflow", EVIL)
            await client.submit_workflow(names[0], [WorkflowNode(names[1], new_job("evil", b"1"))])
    except OsqueueError:
        return what
    return EVIL


async def worker_of(client):
    try:
        await client.claim_job(EVIL, ["nothing"])
    except OsqueueError:
        return "worker-1"
    return EVIL


def tell(broker, *arguments, input=None):
    """What a terminal would be sent: colours and all."""
    result = CliRunner().invoke(
        cli, list(arguments), env={"BROKER_URL": f"grpc://{broker.address}", "OSQUEUE_TOKEN": ""}, color=True,
        prog_name="osqueue", input=input,
    )  # fmt: skip
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.stdout or result.stderr, arguments
    assert_harmless(result.stdout)
    assert_harmless(result.stderr)
    return result


CALLS = {
    "jobs": ["jobs", "-s", "dead", "-s", "completed", "-s", "in_progress", "-s", "unclaimed"],
    "job show": ["job", "show", "{running}"],
    "job show dead": ["job", "show", "{dead}"],
    "job show done": ["job", "show", "{done}"],
    "job explain": ["job", "explain", "{dead}"],
    "job wait": ["job", "wait", "{dead}"],
    "job cancel": ["job", "cancel", "{done}", EVIL],
    "job retry": ["job", "retry", "{done}", EVIL],
    "dead list": ["dead", "list"],
    "dead list by error": ["dead", "list", "--by-error"],
    "dead retry": ["dead", "retry", EVIL, "{done}"],
    "stats": ["stats"],
    "storage": ["stats", "--storage"],
    "workers": ["workers"],
    "history": ["history"],
    "schedules put": ["schedules", "put", "evil", EVIL, EVIL, "--every", "1h"],
    "schedules list": ["schedules", "list", EVIL],
    "schedules show": ["schedules", "show", EVIL],
    "schedules preview": ["schedules", "preview", "--cron", EVIL],
    "schedules pause": ["schedules", "pause", "evil", "--reason", EVIL],
    "schedules resume": ["schedules", "resume", EVIL],
    "schedules trigger": ["schedules", "trigger", EVIL],
    "schedules backfill": ["schedules", "backfill", EVIL, "--from", "2h", "--to", "1h"],
    "schedules delete": ["schedules", "delete", EVIL],
    "workflows list": ["workflows", "list"],
    "workflows show": ["workflows", "show", "{workflow}"],
    "workflows show one that is not there": ["workflows", "show", EVIL],
    "workflows cancel": ["workflows", "cancel", EVIL],
    "batches open": ["batches", "open", EVIL],
    "batches list": ["batches", "list"],
    "batches show": ["batches", "show", "{batch}"],
    "batches seal": ["batches", "seal", EVIL],
    "batches cancel": ["batches", "cancel", EVIL],
    "pause": ["pause", "evil", EVIL],
    "resume": ["resume", "evil", EVIL],
    "fairness keys": ["fairness", "keys"],
    "fairness weigh": ["fairness", "weigh", EVIL, "2"],
    "limits put": ["limits", "put", EVIL, "--max", "1"],
    "limits list": ["limits", "list"],
    "limits show": ["limits", "show", EVIL],
    "limits keys": ["limits", "keys", EVIL],
    "limits override": ["limits", "override", EVIL, EVIL, "--max", "1"],
    "limits reset": ["limits", "reset", EVIL, EVIL],
    "limits delete": ["limits", "delete", EVIL],
    "queues create": ["queues", "create", EVIL, "--description", EVIL],
    "queues create one": ["queues", "create", "evil", "--description", EVIL],
    "queues list": ["queues", "list"],
    "queues show": ["queues", "show", EVIL],
    "queues change": ["queues", "change", EVIL, "--max-jobs", "1"],
    "queues delete": ["queues", "delete", EVIL, "--yes"],
    "purge": ["purge", EVIL, "{running}", "--dry-run"],
    "run-now": ["run-now", EVIL, "{running}"],
    "update": ["update", EVIL, "{running}", "--priority", "1"],
    "update --payload": ["update", "{running}", "--payload", EVIL],
    "submit": ["submit", EVIL, EVIL],
    "submit --wait": ["submit", "nobody", "1", "--wait", "--wait-limit", "1ms"],
    "doctor": ["doctor", "--no-write", "--data-dir", "/nonexistent/\x1b[2J"],
    "whoami": ["whoami"],
    "audit": ["audit", "--who", EVIL],
    "tokens list": ["tokens", "list"],
    "tokens create": ["tokens", "create", EVIL, "--scope", EVIL],
    "tokens rotate": ["tokens", "rotate", EVIL],
    "tokens revoke": ["tokens", "revoke", EVIL, "--yes"],
    "step-down": ["step-down", "--yes", "--reason", EVIL],
}


@pytest.mark.parametrize("more", [[], ["--json"]], ids=["people", "programs"])
@pytest.mark.parametrize("name", CALLS)
def test_no_escape_reaches_the_terminal(hostile, name, more):
    broker, ids = hostile
    ids = dict(zip(("running", "dead", "done", "workflow", "batch"), ids, strict=True))
    arguments = [each.format_map(ids) for each in CALLS[name]]
    tell(broker, *arguments, *more)


def test_every_command_that_talks_to_a_broker_is_tried():
    tried = {" ".join(part for part in arguments[:2] if re.fullmatch(r"[a-z-]+", part)) for arguments in CALLS.values()}
    tried = {name.replace(" evil", "").replace(" nobody", "") for name in tried}
    live = {"top", "work", "bench"}  # the screens are below; bench shows its own figures
    assert {name for name, command in commands(cli) if takes_broker(command)} - live <= {
        name.split(" -")[0] for name in tried
    }


def test_a_result_is_shown_to_people_and_told_to_programs(hostile, monkeypatch, capsysbinary):
    broker, (_, _, done, *_) = hostile
    result = CliRunner().invoke(cli, ["job", "wait", done], env={"BROKER_URL": f"grpc://{broker.address}"})
    assert result.stdout_bytes == EVIL.encode(), "to a pipe byte by byte"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    output.write_bytes(EVIL.encode() + b"\xff")
    assert_harmless(capsysbinary.readouterr().out.decode())


def test_what_is_escaped_in_json_means_the_same(hostile):
    import json

    broker, (_, dead, *_) = hostile
    assert json.loads(tell(broker, "job", "show", dead, "--json").stdout)["error"]["message"] == EVIL


def test_events_are_harmless():
    event = JobEvent("failed", EVIL, EVIL, EVIL, EVIL, 1, 1, JobError(EVIL, EVIL))
    from osqueue_cli.commands.jobs import _event_line

    assert_harmless(_event_line(event))


# --- screens ----------------------------------------------------------------------------------------------------------


def drawn(frame) -> str:
    from rich.console import Console

    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    console.print(frame)
    return console.file.getvalue()


def test_the_screen_of_top_is_harmless():
    from osqueue import WorkerInfo
    from osqueue.stats import Stats, TypeStats

    board = top._Board()
    board.sample(Stats(types=[TypeStats(EVIL)]))
    board.workers = [WorkerInfo(EVIL, [EVIL], version=EVIL)]
    board.events.append(JobEvent("failed", EVIL, EVIL, EVIL, EVIL, 1, 1, JobError(EVIL, EVIL)))
    board.trouble = EVIL
    assert_harmless(drawn(top._frame(board, 200, 50)))
    board.stats = None
    assert_harmless(drawn(top._frame(board, 200, 50)))


def test_the_screen_of_a_worker_is_harmless():
    from osqueue import ClaimedJob, Worker

    screen = worker_view.Screen(Worker(OsqueueClient(), {EVIL: lambda payload: None}, worker_id=EVIL))
    job = ClaimedJob(EVIL, EVIL, b"", EVIL)
    screen.claimed(job)
    screen.ended(worker_view.Ended("failed", job, 1.0, JobError(EVIL, EVIL), EVIL))
    assert_harmless(drawn(screen._frame()))


def test_the_log_of_a_worker_is_harmless():
    import logging

    record = logging.LogRecord("osqueue", logging.ERROR, "x.py", 1, "job %s failed", (EVIL,), None)
    assert_harmless(worker_view._Escaping("%(message)s").format(record))


# --- the kind, not the examples ---------------------------------------------------------------------------------------

WRITING = {"click.echo", "click.secho", "print", "sys.stdout.write", "sys.stdout.buffer.write"}

OWN_WORDS = {"output.py", "failing.py", "demo/summary.py", "demo/view.py", "commands/serve.py"}
"""They write what is escaped already, or nothing of others: the demo and `serve` show their own queue."""


def test_nothing_is_written_past_the_escaping():
    """`click.echo`, `print` and standard output are used where text is escaped, and nowhere else."""
    package = Path(osqueue_cli.__file__).parent
    writers = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in WRITING
    }
    assert writers <= OWN_WORDS


def test_a_style_passes_only_where_it_is_ours(capsys):
    click.echo(output.joined(output.styled("ok\x1b[2J", fg="green"), "\x1b[2J"), color=True)
    assert capsys.readouterr().out == "\x1b[32mok\\x1b[2J\x1b[0m\\x1b[2J\n"
