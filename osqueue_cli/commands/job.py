"""`osqueue job`: one job, by its id."""

from typing import TYPE_CHECKING

import click

from osqueue_cli import output
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.exits import exit_of
from osqueue_cli.failing import Failure
from osqueue_cli.params import DURATION
from osqueue_cli.shapes import preview, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from osqueue import OsqueueError
    from osqueue.job import Attempt, Job, Origin
    from osqueue.messages import Change

PAYLOAD_CHARS_SHOWN = 2_000


@click.group()
def job() -> None:
    """One job: show, explain, wait, cancel, retry.

    \b
    Examples:
      osqueue job show 01J8...          payload, attempts, result or error
      osqueue job explain 01J8...       why does it not run?
      osqueue job cancel 01J8...
    """


@job.command(no_args_is_help=True)
@click.argument("job_id")
@connection_options
def show(connection: Connection, as_json: bool, job_id: str) -> None:
    """Show a job: payload, attempts, result or error."""
    found = connection.run(lambda client: client.get_job(job_id))
    if as_json:
        output.print_json(to_json(found))
    else:
        print_job(found)


@job.command(no_args_is_help=True)
@click.argument("job_id")
@connection_options
def explain(connection: Connection, as_json: bool, job_id: str) -> None:
    """Say why a job is not running."""
    why = connection.run(lambda client: client.explain_job(job_id))
    if as_json:
        output.print_json(to_json(why))
        return
    output.say(output.coloured(why.status), f": {why.message}")
    output.print_fields(
        {
            "because": ", ".join(why.reasons),
            "runs": output.ago(why.run_at),
            "ahead of it": output.plural(why.jobs_ahead, "job") if why.jobs_ahead else "",
            "workers for its type": why.workers or "",
            "held by": why.worker_id,
            "lease ends": output.ago(why.lease_expires_at),
            "ended": output.since(why.finished_at),
            "last error": f"{why.error.type}: {why.error.message}" if why.error else "",
        }
    )


@job.command(no_args_is_help=True)
@click.argument("job_id")
@click.option("--limit", type=DURATION, help="Give up after this time (exit code 9); the job goes on.")
@connection_options
def wait(connection: Connection, as_json: bool, job_id: str, limit: int | None) -> None:
    """Wait until a job is finished and print its result."""
    from osqueue_cli.commands.submit import print_end

    print_end(connection.run(lambda client: client.wait_job(job_id, limit)), as_json=as_json)


@job.command(no_args_is_help=True)
@click.argument("job_ids", nargs=-1, required=True)
@connection_options
def cancel(connection: Connection, as_json: bool, job_ids: tuple[str, ...]) -> None:
    """Cancel jobs: at once while they wait, by asking their workers while they run."""
    changes = connection.run(lambda client: client.cancel_jobs(job_ids))
    print_changes(changes.changed, changes.refused, as_json=as_json)


@job.command(no_args_is_help=True)
@click.argument("job_ids", nargs=-1, required=True)
@connection_options
def retry(connection: Connection, as_json: bool, job_ids: tuple[str, ...]) -> None:
    """Make dead jobs ready again, each with a new budget of attempts."""
    changes = connection.run(lambda client: client.retry_jobs(job_ids))
    print_changes(changes.changed, changes.refused, as_json=as_json)


def print_changes(changed: "list[Change]", refused: "Mapping[str, OsqueueError]", *, as_json: bool) -> None:
    """What became of each job; a refused one makes the command fail with the code of the first refusal."""
    for change in changed:
        if as_json:
            output.print_json_line(to_json(change))
        else:
            asked = "; its worker is asked to stop" if change.cancel_requested else ""
            output.say(f"{change.job_id} is ", output.coloured(change.status or ""), asked)
    if not refused:
        return
    for job_id, error in refused.items():
        if as_json:
            output.print_json_line({"jobId": job_id, "error": {"message": str(error)}})
        elif len(refused) > 1:
            output.note(f"{job_id}: {error}")
    first = next(iter(refused.values()))
    message = first.message if len(refused) == 1 else f"{output.plural(len(refused), 'job')} unchanged"
    raise Failure(message, exit_of(first.tag, first.reason), tag=first.tag, reason=first.reason)


def print_job(found: "Job") -> None:
    """Everything about a job that is worth a line."""
    limit = found.effective_max_attempts or found.max_attempts
    policy = found.retry_policy
    error = found.error
    output.print_fields(
        {
            "job": output.styled(found.id, bold=True),
            "type": found.type or "(none)",
            "status": output.joined(
                output.coloured(found.status), " (cancel requested)" if found.cancel_requested else ""
            ),
            "submitted": f"{output.timestamp(found.created_at)} ({output.since(found.created_at)})",
            "runs": output.ago(found.run_at) if found.status == "scheduled" else "",
            "attempts": f"{found.attempts} of {limit}" if limit else str(found.attempts),
            "worker": found.worker_id,
            "lease ends": output.ago(found.lease_expires_at),
            "progress": f"{found.progress.fraction:.0%} {found.progress.message}" if found.progress else "",
            "priority": found.priority or "",
            "attempt limit": output.duration(found.timeout_ms) if found.timeout_ms else "",
            "backoff": f"{output.duration(policy.initial_ms)} × {policy.multiplier:g}" if policy else "",
            "key": found.idempotency_key,
            "schedule": found.schedule_id,
            "scheduled for": output.timestamp(found.scheduled_for),
            "unique key": found.unique.key if found.unique else "",
            "sequence": found.sequence_key,
            "fairness key": found.fairness_key,
            "came from": _origin(found.came_from) if found.came_from else "",
            "followed by": " ".join(found.follow_ups),
            "submits on its death": found.submit_on_dead.type or "(a job without a type)"
            if found.submit_on_dead
            else "",
            "its deaths submitted": " ".join(found.dead_follow_ups),
            "labels": " ".join(f"{key}={value}" for key, value in found.metadata.items()),
            "ended": f"{output.timestamp(found.finished_at)} ({output.since(found.finished_at)})"
            if found.finished_at
            else "",
            "error": f"{error.type}: {error.message}" if error else "",
            "payload": preview(found.payload, PAYLOAD_CHARS_SHOWN),
            "result": preview(found.result, PAYLOAD_CHARS_SHOWN) if found.result is not None else "",
        }
    )
    if found.history:
        output.say()
        output.print_table(
            ["ATTEMPT", "OUTCOME", "STARTED", "TOOK", "WORKER", "ERROR"], [_attempt_row(end) for end in found.history]
        )


def _origin(origin: "Origin") -> str:
    if origin.kind == "on_dead":
        return f"the death of {origin.job_id} in attempt {origin.attempt}"
    return f"the completion of {origin.job_id}"


def _attempt_row(attempt: "Attempt") -> list[str]:
    took = output.duration(attempt.ended_at - attempt.started_at) if attempt.ended_at else ""
    error = f"{attempt.error.type}: {attempt.error.message}" if attempt.error else ""
    return [
        str(attempt.number), attempt.outcome, output.timestamp(attempt.started_at), took, attempt.worker_id, error
    ]  # fmt: skip
