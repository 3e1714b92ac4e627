"""`osqueue submit`: one job, or a file of them."""

import sys
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from osqueue_cli import output
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure
from osqueue_cli.params import DURATION, FUTURE, LABEL, LIMIT, labels
from osqueue_cli.shapes import bytes_members, to_json

if TYPE_CHECKING:
    from osqueue import OsqueueClient, RetryPolicy, Unique
    from osqueue.job import Job, JobSpec


@click.command(no_args_is_help=True)
@click.argument("job_type", metavar="TYPE", default="")
@click.argument("payload", default=None, required=False)
@click.option("-f", "--file", "file", type=click.File("rb"), help="Read the payload from a file; - is standard input.")
@click.option("--lines", type=click.File("rb"), help="Submit many: each line of the file is the payload of one job.")
@click.option("--key", default="", help="Idempotency key: the same key is the same job. With --lines: its prefix.")
@click.option("--priority", type=click.IntRange(-1_000, 1_000), default=0, help="Higher runs first.")
@click.option("--max-attempts", type=click.IntRange(1, 1_000), help="Tries before the job is dead.  [default: 3]")
@click.option("--delay", "delay_ms", type=DURATION, default=0, help="Run after this time at the earliest, e.g. 5m.")
@click.option("--at", "run_at", type=FUTURE, default=0, help="Run at this time at the earliest, e.g. 2030-01-31T09:00.")
@click.option(
    "--lease", "lease_ms", type=DURATION, default=0, help="Lease between two heartbeats of a worker.  [default: 30s]"
)
@click.option("--attempt-limit", "timeout_ms", type=DURATION, default=0, help="Limit of one attempt, e.g. 10m.")
@click.option("--backoff", type=DURATION, help="Pause after the first failure; doubles with every further one.")
@click.option("--keep", "retention_ms", type=DURATION, help="Keep the finished job for at least this long.")
@click.option("-m", "--meta", "meta", type=LABEL, multiple=True, metavar="KEY=VALUE", help="A label; repeatable.")
@click.option("--on-dead", "submit_on_dead", nargs=2, metavar="TYPE PAYLOAD", help="Submit this job when the job dies.")
@click.option(
    "--limit",
    "limits",
    type=LIMIT,
    multiple=True,
    metavar="NAME[:KEY][*COST]",
    help="A limit that it is under; repeatable.",
)
@click.option("--unique", default="", metavar="KEY", help="Unique key: at most one live job of the type has it.")
@click.option(
    "--unique-scope", type=click.Choice(["type", "queue"]), help="With --unique: among which jobs.  [default: type]"
)
@click.option(
    "--unique-until",
    type=click.Choice(["finished", "started", "succeeded"]),
    help="With --unique: how long the job holds the key.  [default: finished]",
)
@click.option(
    "--on-conflict",
    type=click.Choice(["keep", "reject", "replace", "replace_keep_run_at", "debounce"]),
    help="With --unique: when the job that holds the key waits.  [default: keep]",
)
@click.option(
    "--if-running",
    type=click.Choice(["keep", "reject", "enqueue_one_after", "cancel"]),
    help="With --unique: when the job that holds the key runs.  [default: keep]",
)
@click.option("--unique-for", type=DURATION, help="With --unique: nobody else has the key for this long, e.g. 1h.")
@click.option("--max-wait", type=DURATION, help="With --on-conflict debounce: not longer.  [default: 10 × delay]")
@click.option(
    "--sequence",
    "sequence_key",
    default="",
    metavar="KEY",
    help="Run after all jobs that were submitted to this sequence before.",
)
@click.option(
    "--after-dead",
    "sequence_after_dead",
    type=click.Choice(["hold", "skip"]),
    help="With --sequence: when this job is dead.  [default: hold]",
)
@click.option("--fairness-key", default="", metavar="KEY", help="Whose turn it is when the job is claimed.")
@click.option("--batch", "batch_id", default="", metavar="ID", help="The batch that it joins.")
@click.option("--wait", is_flag=True, help="Wait for the job and print its result.")
@click.option("--wait-limit", type=DURATION, help="With --wait: give up after this time (exit code 9).")
@click.option("--ids", is_flag=True, help="With --lines: print the id of every job.")
@connection_options
def submit(
    connection: Connection, as_json: bool, job_type: str, payload: str | None, file: BinaryIO | None,
    lines: BinaryIO | None, backoff: int | None, meta: tuple[tuple[str, str], ...], key: str,
    wait: bool, wait_limit: int | None, ids: bool, **options: Any,
) -> None:  # fmt: skip
    """Put a job into the queue, or many.

    The payload is JSON by convention, but any text or bytes will do. The command
    returns once the job is durable, and prints its id.

    \b
    Examples:
      osqueue submit email '{"to": "ada@example.org"}'
      osqueue submit report --file report.json --priority 10 --delay 5m
      date | osqueue submit note --file -
      osqueue submit add '[1, 2]' --wait              print the result
      osqueue submit email --lines mails.jsonl        one job per line
      osqueue submit email --lines mails.jsonl --key import-7

    With --key, a bulk submission that was interrupted is simply run again: lines that
    were submitted before are recognised (for 24 hours) and not submitted twice.
    """
    options = asked(backoff, meta, options)
    given = [source for source in (payload, file, lines) if source is not None]
    if len(given) != 1:
        raise click.UsageError("give the payload as an argument, with --file, or many with --lines: one of the three")
    if lines is not None:
        from osqueue_cli.bulk import Bulk

        bulk = Bulk(job_type, key, options, as_json=as_json, ids=ids)
        connection.run(lambda client: bulk.submit(client, lines))
        bulk.finish()
        return
    data = payload_of(payload, file)
    if key:
        options["idempotency_key"] = key
    connection.run(lambda client: _one(client, job_type, data, options, wait, wait_limit, as_json))


_OUTCOMES = {
    "kept": "another job holds the unique key: this is its id, and nothing was submitted",
    "replaced": "this job was there, and is from now on what was submitted",
    "debounced": "this job was there, is from now on what was submitted, and was put off",
    "queued_after": "this job waits until the one that runs under its unique key has ended",
    "cancelling": "this job waits until the one that runs under its unique key, which was asked to stop, has ended",
}


def asked(backoff: int | None, meta: tuple[tuple[str, str], ...], options: dict[str, Any]) -> dict[str, Any]:
    """What the options ask for, as `new_job` takes it."""
    if backoff is not None:
        options["retry_policy"] = _doubling(backoff)
    terms = {name: options.pop(option, None) for name, option in _TERMS.items()}
    unique = options.pop("unique", "")
    options = {name: value for name, value in options.items() if value}
    if "submit_on_dead" in options:
        options["submit_on_dead"] = _on_dead(*options["submit_on_dead"])
    if unique or any(terms.values()):
        options["unique"] = _unique(unique, terms)
    if meta:
        options["metadata"] = labels(meta)
    return options


def _doubling(initial_ms: int) -> "RetryPolicy":
    from osqueue import RetryPolicy

    return RetryPolicy(initial_ms=initial_ms)


def _on_dead(job_type: str, payload: str) -> "JobSpec":
    from osqueue import new_job

    return new_job(job_type, payload.encode(errors="surrogateescape"))


_TERMS = {
    "scope": "unique_scope", "until": "unique_until", "on_conflict": "on_conflict", "if_running": "if_running",
    "ttl_ms": "unique_for", "max_wait_ms": "max_wait",
}  # fmt: skip
"""What `Unique` calls its terms, and what the options are called."""


def _unique(key: str, terms: dict[str, Any]) -> "Unique":
    from osqueue import Unique

    if not key:
        raise click.UsageError("these options say what becomes of a unique key: name it with --unique KEY")
    return Unique(key, **{name: value for name, value in terms.items() if value})


def payload_of(argument: str | None, file: BinaryIO | None) -> bytes:
    """What is submitted: the argument, or what the file holds."""
    if argument is not None and argument != "-":
        return argument.encode(errors="surrogateescape")
    file = file or sys.stdin.buffer
    if file.isatty():
        output.note("reading the payload from the terminal; Ctrl-D ends it")
    return file.read()


async def _one(
    client: "OsqueueClient", job_type: str, data: bytes, options: dict[str, Any],
    wait: bool, wait_limit: int | None, as_json: bool,
) -> None:  # fmt: skip
    handle = await client.submit_job(job_type, data, **options)
    if not wait:
        if as_json:
            answer = {"jobId": handle.id, "deduplicated": handle.deduplicated}
            output.print_json(answer | ({"outcome": handle.outcome} if handle.outcome else {}))
        else:
            output.say(handle.id)
            if handle.outcome not in ("", "created"):
                output.note(_OUTCOMES[handle.outcome])
            if handle.deduplicated:
                output.note("the key was used before: this is the job that it made then")
        return
    if not as_json:
        output.note(f"job {handle.id} is durable; waiting for its end (Ctrl-C leaves it in the queue)")
    print_end(await client.wait_job(handle.id, wait_limit), as_json=as_json)


def print_end(job: "Job", *, as_json: bool) -> None:
    """How a job ended that was waited for; anything but a completion is a failure of the command."""
    if as_json:
        body: dict[str, Any] = {"jobId": job.id, "status": job.status, "attempts": job.attempts}
        if job.result is not None:
            body.update(bytes_members("result", job.result))
        if job.error is not None:
            body["error"] = to_json(job.error)
        output.print_json(body)
    elif job.status == "completed" and job.result is not None:
        output.write_bytes(job.result)
    if job.status == "completed":
        return
    if not job.finished:
        raise Failure(f"job {job.id} is {job.status}; it goes on, wait for it again", Exit.TIMEOUT)
    why = f": {job.error.type}: {job.error.message}" if job.error else ""
    raise Failure(f"job {job.id} is {job.status} after {output.plural(job.attempts, 'attempt')}{why}", Exit.FAILED)
