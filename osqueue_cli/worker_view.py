"""What a running worker does: on a screen for people, as JSON lines for everything else."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from osqueue import ClaimedJob, JobError, Settled, Worker
from osqueue_cli import output

REFRESH_S = 0.25
RATE_WINDOW_S = 5.0
RUNNING_SHOWN = 8
ENDED_SHOWN = 8
_LOG_FORMAT = "%(asctime)s %(levelname)-8s %(name)s: %(message)s"


@dataclass(frozen=True, slots=True)
class Ended:
    """One attempt that is over."""

    what: str
    job: ClaimedJob
    took_ms: float
    error: JobError | None = None
    next_status: str = ""


class View(Protocol):
    """Shows a worker's life."""

    def start(self) -> None: ...

    def claimed(self, job: ClaimedJob) -> None: ...

    def ended(self, end: Ended) -> None: ...

    def refresh(self) -> None: ...

    def stop(self) -> None: ...


async def run(worker: Worker, view: View, *, until_idle: bool) -> None:
    """Run the worker and show what it does, to the end of both."""
    _Watch(worker, view)
    view.start()
    refreshing = asyncio.create_task(_refresh(view))
    try:
        async with worker.client:
            await worker.run(until_idle=until_idle)
    finally:
        refreshing.cancel()
        view.stop()


async def _refresh(view: View) -> None:
    while True:
        view.refresh()
        await asyncio.sleep(REFRESH_S)


class _Watch:
    """Stands in the worker's hooks, before those of the application."""

    def __init__(self, worker: Worker, view: View) -> None:
        self._view = view
        self._since: dict[str, float] = {}
        hooks = worker.hooks
        hooks.on_claimed = _both(self._claimed, hooks.on_claimed)
        hooks.on_completed = _both(self._completed, hooks.on_completed)
        hooks.on_failed = _both(self._failed, hooks.on_failed)
        hooks.on_lost = _both(self._lost, hooks.on_lost)

    def _claimed(self, job: ClaimedJob) -> None:
        self._since[job.lease_token] = time.monotonic()
        self._view.claimed(job)

    def _completed(self, job: ClaimedJob, result: bytes | None) -> None:
        self._view.ended(Ended("completed", job, self._took_ms(job)))

    def _failed(self, job: ClaimedJob, error: JobError, settled: Settled) -> None:
        self._view.ended(Ended("failed", job, self._took_ms(job), error, settled.status))

    def _lost(self, job: ClaimedJob) -> None:
        self._view.ended(Ended("lost", job, self._took_ms(job)))

    def _took_ms(self, job: ClaimedJob) -> float:
        now = time.monotonic()
        return (now - self._since.pop(job.lease_token, now)) * 1_000


def _both(ours: Callable[..., None], theirs: Callable[..., Any] | None) -> Callable[..., Any]:
    def hook(*args: Any) -> Any:
        ours(*args)
        return None if theirs is None else theirs(*args)

    return hook


class _Escaping(logging.Formatter):
    """What handlers and jobs say must not steer the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return output.printable_lines(super().format(record))


class JsonLines:
    """A line for the start, for every attempt that ends, and for the end. The log goes to standard error."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def start(self) -> None:
        handler = logging.StreamHandler()
        handler.setFormatter(_Escaping(_LOG_FORMAT))
        logging.basicConfig(level=logging.INFO, handlers=[handler])
        output.print_json_line({"event": "started", "workerId": self._worker.worker_id, "at": output.now_ms()})

    def claimed(self, job: ClaimedJob) -> None:
        pass  # its end says it all, and a line for each would double the output

    def ended(self, end: Ended) -> None:
        line: dict[str, Any] = {
            "event": end.what, "jobId": end.job.job_id, "type": end.job.type, "attempt": end.job.attempt,
            "tookMs": round(end.took_ms, 1), "at": output.now_ms(),
        }  # fmt: skip
        if end.error is not None:
            line |= {"error": {"type": end.error.type, "message": end.error.message}, "status": end.next_status}
        output.print_json_line(line)

    def refresh(self) -> None:
        pass

    def stop(self) -> None:
        tally = self._worker.tally
        output.print_json_line(
            {
                "event": "stopped", "workerId": self._worker.worker_id, "completed": tally.completed,
                "failed": tally.failed, "released": tally.released, "lost": tally.lost, "at": output.now_ms(),
            }
        )  # fmt: skip


class Screen:
    """Counters, what runs, and what ended lately, redrawn in place; the log scrolls above."""

    def __init__(self, worker: Worker) -> None:
        from rich.console import Console
        from rich.live import Live

        self._worker = worker
        self._console = Console()
        self._running: dict[str, tuple[ClaimedJob, float]] = {}
        self._ended: deque[Ended] = deque(maxlen=ENDED_SHOWN)
        self._samples: deque[tuple[float, int]] = deque()
        self._live = Live(get_renderable=self._frame, console=self._console, auto_refresh=False)

    def start(self) -> None:
        from rich.logging import RichHandler

        handler = RichHandler(console=self._console, show_path=False, markup=False)
        handler.setFormatter(_Escaping("%(message)s"))
        logging.basicConfig(level=logging.INFO, handlers=[handler])
        self._live.start()

    def claimed(self, job: ClaimedJob) -> None:
        self._running[job.lease_token] = (job, time.monotonic())

    def ended(self, end: Ended) -> None:
        self._running.pop(end.job.lease_token, None)
        self._ended.append(end)

    def refresh(self) -> None:
        now = time.monotonic()
        self._samples.append((now, self._worker.tally.completed))
        while self._samples[0][0] < now - RATE_WINDOW_S:
            self._samples.popleft()
        self._live.refresh()

    def stop(self) -> None:
        self._live.refresh()
        self._live.stop()

    def _frame(self) -> Any:
        from rich.console import Group

        return Group(self._head(), *self._running_lines(), *self._ended_lines())

    def _head(self) -> Any:
        from rich.text import Text

        state = self._worker.state()
        types = output.printable(", ".join(state.types)) or "any type"
        counters = f"{state.completed:,} completed  {state.failed:,} failed  {state.released:,} given back"
        colour = "green" if state.status == "running" else "yellow"
        return Text.assemble(
            (output.printable(state.worker_id), "bold"),
            f"  {types}  ",
            (state.status, colour),
            f"\n{state.busy} of {state.slots} slots  {counters}  {self._rate():,.0f}/s",
        )

    def _rate(self) -> float:
        if len(self._samples) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._samples[0], self._samples[-1]
        return (last - first) / max(last_s - first_s, 0.001)

    def _running_lines(self) -> list[Any]:
        from rich.text import Text

        now = time.monotonic()
        live = self._worker.state().job_ids
        shown = [(job, since) for job, since in self._running.values() if job.job_id in live][:RUNNING_SHOWN]
        lines = []
        for job, since in shown:
            told = f"  ▶ {job.job_id}  {job.type}  attempt {job.attempt}  {output.duration((now - since) * 1_000)}"
            lines.append(Text(output.printable(told), "yellow"))
        return lines

    def _ended_lines(self) -> list[Any]:
        from rich.text import Text

        lines = []
        for end in self._ended:
            sign, colour = ("✔", "green") if end.what == "completed" else ("✖", "red")
            why = f"  {end.error.type}: {end.error.message}, now {end.next_status}" if end.error else ""
            took = output.duration(end.took_ms)
            told = output.first_line(f"  {sign} {end.job.job_id}  {end.job.type}  {took}{why}")
            lines.append(Text(told, colour, no_wrap=True, overflow="ellipsis"))
        return lines
