"""Many jobs from a file of lines: read as they are sent, batch by batch, with a bar."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from osqueue_cli import output
from osqueue_cli.exits import Exit, exit_of
from osqueue_cli.failing import Failure

if TYPE_CHECKING:
    from osqueue import OsqueueClient
    from osqueue.errors import OsqueueError
    from osqueue.job import JobSpec

BATCH_LINES = 1_000
LINE_BYTES_MAX = 8 << 20
"""A longer line cannot be a job: the broker's limit for a payload is far lower."""
ERRORS_SHOWN = 10


class Line(NamedTuple):
    """One line of the file, counted from 1."""

    number: int
    payload: bytes


class Bulk:
    """Submits the lines of a file, each for itself, and keeps count of what became of them."""

    def __init__(self, job_type: str, key: str, options: dict[str, Any], *, as_json: bool, ids: bool) -> None:
        self.submitted = 0
        self.deduplicated = 0
        self.refused = 0
        self._first_refusal: OsqueueError | None = None
        self._type = job_type
        self._key = key
        self._options = options
        self._as_json = as_json
        self._ids = ids
        self._started_s = time.monotonic()

    async def submit(self, client: "OsqueueClient", file: BinaryIO) -> None:
        """Submit every line that is not blank."""
        from osqueue import OsqueueError
        from osqueue.submission import new_job

        size = _size(file)
        lines = _lines(file)
        with _bar(size) as advance:
            while batch := list(islice(lines, BATCH_LINES)):
                jobs: list[JobSpec] = []
                for line in batch:
                    jobs.append(new_job(self._type, line.payload, **self._options))
                    if self._key:
                        jobs[-1].idempotency_key = f"{self._key}:{line.number}"
                for line, answer in zip(batch, await client.submit_jobs(jobs, atomic=False), strict=True):
                    if isinstance(answer, OsqueueError):
                        self._refuse(line.number, answer)
                    else:
                        self._accept(line.number, answer.id, answer.deduplicated)
                advance(sum(len(line.payload) + 1 for line in batch))

    def finish(self) -> None:
        """Say what became of the lines; refused ones make the command fail."""
        seconds = max(time.monotonic() - self._started_s, 0.001)
        done = self.submitted + self.deduplicated
        if self._as_json:
            output.print_json_line(
                {"submitted": self.submitted, "deduplicated": self.deduplicated, "refused": self.refused}
            )
        else:
            again = f", {self.deduplicated:,} of them earlier" if self.deduplicated else ""
            rate = f" ({done / seconds:,.0f}/s)" if done > 1 else ""
            output.note(f"{output.plural(done, 'job')} durable{again} in {output.duration(seconds * 1_000)}{rate}")
        if self._first_refusal is not None:
            first = self._first_refusal
            raise Failure(
                f"{output.plural(self.refused, 'line')} refused; the others are submitted",
                exit_of(first.tag, first.reason),
                tag=first.tag,
                reason=first.reason,
            )
        if done == 0:
            raise Failure("the file has no lines", Exit.USAGE)

    def _accept(self, number: int, job_id: str, deduplicated: bool) -> None:
        if deduplicated:
            self.deduplicated += 1
        else:
            self.submitted += 1
        if self._ids:
            if self._as_json:
                output.print_json_line({"line": number, "jobId": job_id, "deduplicated": deduplicated})
            else:
                output.say(job_id)

    def _refuse(self, number: int, error: "OsqueueError") -> None:
        self.refused += 1
        self._first_refusal = self._first_refusal or error
        if self._as_json:
            output.print_json_line({"line": number, "error": {"_tag": error.tag, "message": error.message}})
        elif self.refused <= ERRORS_SHOWN:
            output.note(f"line {number}: {error.message}")
        elif self.refused == ERRORS_SHOWN + 1:
            output.note("further refusals are counted, not shown; --json shows them all")


def _lines(file: BinaryIO) -> Iterator[Line]:
    for number in range(1, 1 << 62):
        line = file.readline(LINE_BYTES_MAX)
        if not line:
            return
        if len(line) == LINE_BYTES_MAX:
            raise Failure(f"line {number} is longer than {output.size(LINE_BYTES_MAX)}", Exit.USAGE)
        payload = line.rstrip(b"\r\n")
        if payload.strip():
            yield Line(number, payload)


def _size(file: BinaryIO) -> int | None:
    """The file's size; None for a pipe."""
    try:
        return os.fstat(file.fileno()).st_size or None
    except OSError:  # a pipe or a test's buffer has none; the bar then only counts
        return None


@contextmanager
def _bar(size: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, when that is a terminal; yields how to advance it by bytes."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("submitting"), BarColumn(), TaskProgressColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("submitting", total=size)
        yield lambda count: progress.advance(task, count)
