"""One field of a cron expression."""

from collections.abc import Mapping
from dataclasses import dataclass, field


class BadCron(ValueError):
    """The expression means nothing, or never fires; the message says which field is wrong and what would be right."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a field may hold."""

    name: str
    least: int
    most: int
    names: Mapping[str, int] = field(default_factory=dict)


def read_field(text: str, bounds: Bounds) -> frozenset[int]:
    """All values that the field names: `*`, numbers, names, ranges `a-b`, steps `/n`, and lists of these."""
    values: set[int] = set()
    for part in text.split(","):
        values.update(_read_part(part, bounds))
    return frozenset(values)


def _read_part(part: str, bounds: Bounds) -> range:
    base, slash, step_text = part.partition("/")
    step = 1
    if slash:
        step = _step(part, step_text, bounds)
    if base == "*":
        return range(bounds.least, bounds.most + 1, step)
    first_text, dash, last_text = base.partition("-")
    first = _value(part, first_text, bounds)
    if dash:
        last = _value(part, last_text, bounds)
        if last < first:
            raise BadCron(f"{bounds.name}: {part!r} ends before it begins; write it as two ranges")
    else:
        last = bounds.most if slash else first
    return range(first, last + 1, step)


def _step(part: str, text: str, bounds: Bounds) -> int:
    longest = bounds.most - bounds.least
    step = int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else 0
    if not 1 <= step <= longest:
        raise BadCron(
            f"{bounds.name}: {part!r} has the step {text!r}; it must be a number from 1 to {longest}, because a field "
            "begins anew with the next larger one; for other intervals use every_ms"
        )
    return step


def _value(part: str, text: str, bounds: Bounds) -> int:
    if text in bounds.names:
        return bounds.names[text]
    if text.isascii() and text.isdigit() and len(text) <= 4 and bounds.least <= int(text) <= bounds.most:
        return int(text)
    names = f", or {'/'.join(bounds.names)}" if bounds.names else ""
    raise BadCron(
        f"{bounds.name}: {part[:40]!r} is not a value; it must be from {bounds.least} to {bounds.most}{names}"
    )
