"""What the `osqueue` command can do, by purpose. Nothing of it is imported until a command is called."""

import click

from osqueue_cli.lazy import Entry, LazyGroup

SECTIONS = {
    "Run a queue": {
        "demo": Entry("osqueue_cli.commands.demo:demo", "Watch jobs survive a kill -9 of their broker."),
        "serve": Entry("osqueue_cli.commands.serve:serve", "Run a queue on this machine: broker and gateway."),
        "broker": Entry("osqueue_cli.commands.broker:broker", "Run a broker: it leads, or stands by until it may."),
        "gateway": Entry("osqueue_cli.commands.gateway:gateway", "Run a gateway: REST, WebSocket and Connect."),
        "deploy": Entry("osqueue_cli.commands.deploy:deploy", "Put a queue into an AWS account, or take it away."),
    },
    "Use it": {
        "submit": Entry("osqueue_cli.commands.submit:submit", "Put a job into the queue, or many."),
        "work": Entry("osqueue_cli.commands.work:work", "Run a worker until Ctrl-C or SIGTERM."),
        "jobs": Entry("osqueue_cli.commands.jobs:jobs", "List jobs, or follow what happens to them."),
        "job": Entry("osqueue_cli.commands.job:job", "One job: show, explain, wait, cancel, retry."),
    },
    "Look after it": {
        "stats": Entry("osqueue_cli.commands.stats:stats", "Show how many jobs there are and how fast they flow."),
        "top": Entry("osqueue_cli.commands.top:top", "Watch the queue live."),
        "history": Entry(
            "osqueue_cli.commands.history:history", "Show the leader's figures of the last hour, a line for each step."
        ),
        "workers": Entry("osqueue_cli.commands.workers:workers", "List the workers seen lately, with what they hold."),
        "queues": Entry("osqueue_cli.commands.queues:queues", "Queues with names: create, list, change, delete."),
        "schedules": Entry(
            "osqueue_cli.commands.schedules:schedules", "Jobs with a timetable: put, list, show, preview, trigger."
        ),
        "workflows": Entry(
            "osqueue_cli.commands.workflows:workflows", "Workflows, whose jobs need each other: list, show, cancel."
        ),
        "batches": Entry(
            "osqueue_cli.commands.batches:batches",
            "Batches, whose jobs are counted together: open, seal, list, show, cancel.",
        ),
        "dead": Entry("osqueue_cli.commands.dead:dead", "Dead letters: list, retry."),
        "limits": Entry(
            "osqueue_cli.commands.limits:limits", "Limits: how many of a key run, and how fast they start."
        ),
        "pause": Entry("osqueue_cli.commands.pausing:pause", "Hand out no more jobs of these types."),
        "resume": Entry("osqueue_cli.commands.pausing:resume", "Hand out jobs of these types again."),
        "update": Entry(
            "osqueue_cli.commands.update:update", "Change jobs that wait: priority, time, labels, payload."
        ),
        "run-now": Entry(
            "osqueue_cli.commands.update:run_now",
            "Run jobs now that wait for their time: delayed ones, and those that a failure put off.",
        ),
        "purge": Entry(
            "osqueue_cli.commands.purge:purge", "Remove finished jobs for good, with payload, result and history."
        ),
        "tokens": Entry("osqueue_cli.commands.tokens:tokens", "Tokens: create, list, rotate, revoke."),
        "fairness": Entry(
            "osqueue_cli.commands.fairness:fairness", "Fairness keys: what waits of each, and its weight."
        ),
        "audit": Entry("osqueue_cli.commands.audit:audit", "List who changed jobs, schedules and limits."),
        "whoami": Entry("osqueue_cli.commands.tokens:whoami", "Say who you are to the broker, and what you may do."),
        "step-down": Entry(
            "osqueue_cli.commands.step_down:step_down", "Let the leader hand over to a standby, and say who leads then."
        ),
    },
    "Look underneath": {
        "inspect": Entry("osqueue_cli.commands.inspect:inspect", "Show the queue as it lies in the store."),
        "diff": Entry("osqueue_cli.commands.diff:diff", "Say which jobs differ between A and B."),
        "restore": Entry(
            "osqueue_cli.commands.restore:restore", "Build the queue as it was at a moment, at another place."
        ),
        "export": Entry("osqueue_cli.commands.export:export", "Write the live jobs for the first osqueue."),
        "verify": Entry("osqueue_cli.commands.verify:verify", "Check every object of the queue."),
        "doctor": Entry("osqueue_cli.commands.doctor:doctor", "Check settings, storage, clock, ports and versions."),
        "bench": Entry("osqueue_cli.commands.bench:bench", "Put a small load on a broker and measure."),
    },
}


@click.group(
    cls=LazyGroup,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes and a tour: docs/cli.md. `osqueue COMMAND --help` shows examples.",
)
@click.version_option(package_name="osqueue", message="osqueue %(version)s")
def cli() -> None:
    """A durable job queue with nothing to run but a bucket.

    \b
    Start here:
      osqueue demo                              see it work, in a minute
      osqueue serve                             a queue in ./osqueue-data
      osqueue submit email '{"to": "ada"}'      from another terminal
    """
