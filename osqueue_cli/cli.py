"""What the `osqueue` command can do, by purpose. Nothing of it is imported until a command is called."""

import click

from osqueue_cli.lazy import Entry, LazyGroup

SECTIONS = {
    "Run a queue": {
        "demo": Entry("osqueue_cli.commands.demo:demo", "Watch jobs survive a kill -9 of their broker."),
        "serve": Entry("osqueue_cli.commands.serve:serve", "Run a queue on this machine: broker and gateway."),
        "broker": Entry("osqueue_cli.commands.broker:broker", "Run a broker: it leads, or stands by until it may."),
        "gateway": Entry("osqueue_cli.commands.gateway:gateway", "Run a gateway: REST, WebSocket and Connect."),
    },
    "Use it": {
        "submit": Entry("osqueue_cli.commands.submit:submit", "Put a job into the queue, or many."),
        "jobs": Entry("osqueue_cli.commands.jobs:jobs", "List jobs, or follow what happens to them."),
        "job": Entry("osqueue_cli.commands.job:job", "One job: show, explain, wait, cancel, retry."),
        "stats": Entry("osqueue_cli.commands.stats:stats", "Show how many jobs there are and how fast they flow."),
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
