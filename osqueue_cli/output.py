"""How answers are written: columns for people, one JSON value (or JSON lines) for programs.

Standard output carries the answer and nothing else; notes and progress go to standard error.
Nothing here is imported from rich: most commands print a few lines, and should start at once.

What a queue holds was written by others, and must not steer the operator's terminal: everything is escaped on its way
out, here and nowhere else. Only `Styled` text passes as it is; `styled` escapes what it colours.
"""

import re
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

STATUS_COLOURS = {
    "unclaimed": "cyan",
    "scheduled": "blue",
    "in_progress": "yellow",
    "blocked": "magenta",
    "completed": "green",
    "dead": "red",
    "cancelled": "bright_black",
}
"""Every status that a job can have, and the colour of its name."""

GAP = "  "


class Styled(str):
    """Text with colours of our own, in which everything of others' is escaped."""

    __slots__ = ()


def styled(text: str, **style: Any) -> Styled:
    """The text, escaped, in a style."""
    return Styled(click.style(printable(text), **style))


def coloured(status: str) -> Styled:
    """The status in its colour."""
    return styled(status, fg=STATUS_COLOURS.get(status))


def joined(*parts: str) -> Styled:
    """Parts of a line: what is not styled is escaped."""
    return Styled("".join(part if isinstance(part, Styled) else printable(part) for part in parts))


def say(*parts: str, err: bool = False) -> None:
    """One line of the answer, or an empty one."""
    click.echo(joined(*parts), err=err)


def say_lines(text: str, *, err: bool = False) -> None:
    """Text that may have several lines."""
    click.echo(printable_lines(text), err=err)


def note(text: str) -> None:
    """A remark for the person at the terminal, not part of the answer."""
    say_lines(text, err=True)


def write_bytes(data: bytes) -> None:
    """A job's result: to a program as it is, to a terminal as text."""
    if sys.stdout.isatty():
        say_lines(data.decode(errors="backslashreplace"))
    else:
        sys.stdout.buffer.write(data)


def print_json(value: Any) -> None:
    """One JSON value on one line; in a terminal, indented."""
    click.echo(_json_text(value, indent=2 if sys.stdout.isatty() else 0))


def print_json_line(value: Any) -> None:
    """One line of a stream of JSON values, written out at once."""
    click.echo(_json_text(value, indent=-1))
    sys.stdout.flush()


_UNPRINTABLE_JSON = re.compile("[^\x00-\x7e\xa0-\xff]|[\x7f-\x9f\xad]")
"""What JSON may hold as it is: DEL, the C1 controls, the soft hyphen, and all beyond Latin-1, printable or not."""


def json_line(text: str) -> str:
    """The JSON text with the same meaning, and nothing in it that a terminal obeys."""
    return _UNPRINTABLE_JSON.sub(lambda found: found[0] if found[0].isprintable() else _json_escape(found[0]), text)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True))


def _json_text(value: Any, *, indent: int) -> str:
    """Laid out in lines; on one line with spaces (0), or without (-1). Payloads that are JSON lose their own layout and
    nothing else: their numbers stay as they were written."""
    import msgspec

    from osqueue.api.json_text import encode

    return json_line(msgspec.json.format(encode(value), indent=indent).decode())


def print_fields(fields: Mapping[str, Any]) -> None:
    """Name and value, one a line; empty values are left out."""
    shown = {name: value for name, value in fields.items() if value not in (None, "")}
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        lines = [value] if isinstance(value, Styled) else str(value).split("\n")
        say(styled(name.ljust(width), dim=True), GAP, lines[0])
        for line in lines[1:]:
            say(" " * width, GAP, line)


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, status_column: int | None = None) -> None:
    """Columns as wide as they need to be; of a text of several lines, the first.

    In a terminal the last column is cut at the edge; in a pipe nothing is.
    """
    rows = [[first_line(cell) for cell in row] for row in rows]
    widths = [max(len(head[i]), *(len(row[i]) for row in rows)) if rows else len(head[i]) for i in range(len(head))]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    if room:
        before = sum(widths[:-1]) + len(GAP) * (len(widths) - 1)
        widths[-1] = min(widths[-1], max(12, room - before))
    say(styled(_line(head, widths), bold=True))
    for row in rows:
        say(_line(row, widths, status_column))


def _line(cells: Sequence[str], widths: Sequence[int], status_column: int | None = None) -> Styled:
    """The cells, which are printable, under each other's columns."""
    shown = []
    for i, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        text = cell if len(cell) <= width else cell[: width - 1] + "…"
        if i < len(cells) - 1:
            text = text.ljust(width)
        if i == status_column:
            text = click.style(text, fg=STATUS_COLOURS.get(cell))
        shown.append(text)
    return Styled(GAP.join(shown).rstrip())


def printable(text: str) -> str:
    """The text with control characters escaped: payloads and names of others must not steer the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """The same for text that may have several lines, which it keeps."""
    return "\n".join(printable(line) for line in text.split("\n"))


def first_line(text: str) -> str:
    """The first line of a text, printable, with a mark when there are more."""
    first, newline, _ = text.partition("\n")
    return printable(first.rstrip()) + (" …" if newline else "")


# --- quantities -----------------------------------------------------------------------------------------------------


def duration(ms: float) -> str:
    """A duration in at most two units: 350 ms, 4.2 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if ms < 0:
        return f"-{duration(-ms)}"
    if ms < 1_000:
        return f"{ms:.0f} ms"
    seconds = ms / 1_000
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def size(count: float) -> str:
    """Bytes in the largest unit that leaves a number of three digits or fewer."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1_000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1_000
    return f"{count:.1f} TB"


def now_ms() -> int:
    """By this machine's wall clock, for ages that are shown to people."""
    return int(time.time() * 1_000)


def ago(at_ms: int) -> str:
    """How long ago, or in how much time."""
    if not at_ms:
        return ""
    elapsed = now_ms() - at_ms
    return f"in {duration(-elapsed)}" if elapsed < 0 else f"{duration(elapsed)} ago"


def since(at_ms: int) -> str:
    """How long ago, for what has happened already: clocks that differ a little do not move it into the future."""
    return f"{duration(max(0, now_ms() - at_ms))} ago" if at_ms else ""


def timestamp(at_ms: int) -> str:
    """The moment in local time, to the millisecond."""
    if not at_ms:
        return ""
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at_ms // 1_000))}.{at_ms % 1_000:03}"


def plural(count: int, noun: str) -> str:
    """1 job, 2,000 jobs."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
