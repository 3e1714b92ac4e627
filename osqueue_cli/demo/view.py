"""What a view of the demo must be able to do, and the one for pipes and logs: plain lines."""

from types import TracebackType
from typing import Protocol, Self

import click

from osqueue_cli.demo.tally import Event, Tally

PROGRESS_EVERY_S = 1.0


class View(Protocol):
    """Shows a tally while it changes."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def happened(self, event: Event) -> None:
        """Something worth a line."""
        ...

    def refresh(self) -> None:
        """The numbers may have changed."""
        ...


class LineView:
    """A line for every event, and one with the numbers every second in which they changed."""

    def __init__(self, tally: Tally, *, to_stderr: bool = False) -> None:
        self._tally = tally
        self._to_stderr = to_stderr
        self._said_s = 0.0
        self._said = (0, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def happened(self, event: Event) -> None:
        mark = {"info": " ", "good": "+", "bad": "!"}[event.kind]
        click.echo(f"{event.at_s:6.1f} s {mark} {event.text}", err=self._to_stderr)

    def refresh(self) -> None:
        tally = self._tally
        numbers = (tally.submitted, tally.completed)
        if tally.elapsed_s - self._said_s < PROGRESS_EVERY_S or numbers == self._said:
            return
        self._said_s, self._said = tally.elapsed_s, numbers
        click.echo(
            f"{tally.elapsed_s:6.1f} s   submitted {tally.submitted:,} · done {tally.completed:,} of {tally.jobs:,}"
            f" · running {tally.leased:,} · {tally.rate:,.0f} jobs/s",
            err=self._to_stderr,
        )
