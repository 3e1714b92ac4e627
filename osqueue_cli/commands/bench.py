"""`osqueue bench`: a small load, and what it got."""

import asyncio
import tempfile
from pathlib import Path

import click

from osqueue_cli import output
from osqueue_cli.connection import json_option
from osqueue_cli.load import BATCH_JOBS, PARALLEL, Figures, measure

START_LIMIT_S = 30.0


@click.command()
@click.option("--broker", metavar="URL", help="Load this broker, instead of one of its own in a temporary directory.")
@click.option(
    "--token",
    envvar="OSQUEUE_TOKEN",
    show_envvar=True,
    help="What the broker asks for; the variable keeps it out of process lists.",
)
@click.option("--jobs", type=click.IntRange(BATCH_JOBS, 1_000_000), default=10_000, show_default=True, help="How many.")
@click.option("--bytes", "size", type=click.IntRange(2, 1_000_000), default=200, show_default=True, help="Per payload.")
@json_option
def bench(broker: str | None, token: str | None, jobs: int, size: int, as_json: bool) -> None:
    """Put a small load on a broker and measure.

    Without --broker it starts one of its own on a temporary directory, so the figures
    are those of this machine and its disk. The jobs are of the type osqueue.bench; all
    of them are completed at the end.

    \b
    Examples:
      osqueue bench
      osqueue bench --jobs 100000 --bytes 1000
      osqueue bench --broker grpc://broker-1:8081
    """
    if broker is not None:
        figures = asyncio.run(measure(broker, token, jobs, size))
        where = broker
    else:
        with tempfile.TemporaryDirectory(prefix="osqueue-bench-") as directory:
            figures = asyncio.run(_measure_own(Path(directory), token, jobs, size))
        where = "a broker of its own on the file store"
    if as_json:
        from osqueue_cli.shapes import to_json

        output.print_json({"broker": where, "payloadBytes": size, "batchJobs": BATCH_JOBS, **to_json(figures)})
        return
    output.print_fields(
        {
            "broker": where,
            "load": f"{output.plural(figures.jobs, 'job')} of {size} bytes, {PARALLEL} callers × {BATCH_JOBS} per call",
            "submit": f"{figures.submit_per_s:,.0f} jobs/s durable",
            "claim + complete": f"{figures.cycle_per_s:,.0f} jobs/s",
            "lone submit": f"{figures.lone_submit_ms_p50:.1f} ms (median), {figures.lone_submit_ms_p99:.1f} ms (p99)",
            "submit → worker": f"{figures.handover_ms_p50:.1f} ms (median), until a waiting worker holds the job",
        }
    )


async def _measure_own(directory: Path, token: str | None, jobs: int, size: int) -> Figures:
    from osqueue_cli.processes import Children, free_ports, serving, start_broker

    (port,) = free_ports(1)
    url = f"grpc://127.0.0.1:{port}"
    async with Children(directory / "logs") as children:
        broker = await start_broker(children, directory / "queue", port)
        await serving(url, broker, START_LIMIT_S)
        return await measure(url, token, jobs, size)
