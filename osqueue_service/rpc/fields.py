"""Checks of single fields, and all that was wrong with one request, so that a caller learns of it at once.

Each check says what is wrong and what would be right, or nothing.

Values of callers are shown shortened and escaped: they end up in logs and terminals.
"""

import re
from collections.abc import Mapping, Sequence
from math import isfinite
from sys import intern

from osqueue_service.errors import InvalidRequest, OsqueueError, PayloadTooLarge, PermissionDenied, Violation

# What a refusal names. It travels in the call's trailing metadata, of which clients accept 8 KiB by default.
SHOWN_MAX = 12
SHOWN_CHARS_MAX = 1_500

_TYPE = re.compile(r"[A-Za-z0-9._:/-]*")
_TYPES_REMEMBERED = 10_000
_SHOWN_CHARS = 40


class Violations:
    """Collects violations of one request, or of one item of a batch after the other.

    With `items` ("jobs"), fields are named from the request's root ("jobs[3].type"), and `index` says which item is
    being read. Without, fields are named relative to the item.
    """

    __slots__ = ("_denied", "_found", "_too_large", "_unshown", "index", "items", "part")

    def __init__(self, items: str = "") -> None:
        self.items = items
        self.index = -1
        self.part = ""
        """The part of the item that is being read: "submit_on_dead." stands before the names of its fields."""
        self._found: list[Violation] = []
        self._unshown = 0
        self._too_large = True
        self._denied = False

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, field: str, description: str) -> None:
        """The field is missing, malformed or beyond its limit; the description says what would be right."""
        self._too_large = False
        self._add(field, description)

    def too_large(self, field: str, description: str) -> None:
        """The field has more bytes than its limit."""
        self._add(field, description)

    def deny(self, field: str, description: str) -> None:
        """The caller may not ask for what the field says."""
        self._denied = True
        self._add(field, description)

    def refusal(self) -> OsqueueError:
        """What was wrong, as an error; then begin anew."""
        found, unshown, too_large, denied = self._found, self._unshown, self._too_large, self._denied
        self._found, self._unshown, self._too_large, self._denied = [], 0, True, False
        message = "; ".join(f"{field}: {description}" for field, description in found)
        if unshown:
            message += f"; and {unshown} more"
        kind = PermissionDenied if denied else PayloadTooLarge if too_large else InvalidRequest
        return kind(message, violations=tuple(found))

    def check(self) -> None:
        """Raise the refusal, if anything was wrong."""
        if self._found:
            raise self.refusal()

    def _add(self, field: str, description: str) -> None:
        field = self.part + field
        if self.index >= 0 and self.items:
            field = f"{self.items}[{self.index}].{field}"
        shown = sum(len(f) + len(d) for f, d in self._found)
        if len(self._found) == SHOWN_MAX or shown + len(field) + len(description) > SHOWN_CHARS_MAX:
            self._unshown += 1
        else:
            self._found.append(Violation(field, description))


CHOSEN_CHARS_MAX = 1_024
"""Of a type by which jobs are chosen."""


class TypeNames:
    """Checks type names, each once: a queue has few types and many jobs, and equal names should be one string."""

    def __init__(self, chars_max: int) -> None:
        self._chars_max = chars_max
        self._known: dict[str, str] = {"": ""}

    def read(self, name: str, field: str, wrong: Violations) -> str:
        """The name, interned."""
        known = self._known.get(name)
        if known is not None:
            return known
        if len(name) > self._chars_max:
            wrong.add(field, f"has {len(name):,} characters; at most {self._chars_max} are allowed (type_chars)")
        elif _TYPE.fullmatch(name) is None:
            wrong.add(field, f"{shown(name)} has characters other than A-Z a-z 0-9 . _ : / -")
        elif len(self._known) < _TYPES_REMEMBERED:
            known = self._known[intern(name)] = intern(name)
            return known
        return name

    def chosen(self, name: str, field: str, wrong: Violations) -> str:
        """A name by which jobs are chosen. What may be submitted is narrower than what was adopted from others, whose
        jobs could not be claimed otherwise."""
        known = self._known.get(name)
        if known is not None:
            return known
        if len(name) > CHOSEN_CHARS_MAX:
            wrong.add(field, f"has {len(name):,} characters; at most {CHOSEN_CHARS_MAX:,} are read")
        return name

    def read_all(self, names: Sequence[str], field: str, most: int, wrong: Violations, *, least: int = 0) -> list[str]:
        """A list of names by which jobs are chosen, without repetitions."""
        if not names and not least:
            return []
        check_count(len(names), field, most, "claim_types", wrong, least=least)
        read = self.chosen
        return list(dict.fromkeys([read(name, f"{field}[{i}]", wrong) for i, name in enumerate(names[: most + 1])]))


def shown(value: str) -> str:
    """The value as an error may show it."""
    return repr(value if len(value) <= _SHOWN_CHARS else value[:_SHOWN_CHARS] + "…")


def check_name(value: str, field: str, chars_max: int, wrong: Violations, *, required: bool = False) -> None:
    """An id or a key: printable characters, because it is shown to people."""
    if not value:
        if required:
            wrong.add(field, "is required")
    elif len(value) > chars_max:
        wrong.add(field, f"has {len(value):,} characters; at most {chars_max} are allowed (id_chars)")
    else:
        check_printable(value, field, wrong)


def check_printable(value: str, field: str, wrong: Violations) -> None:
    """What people read in one line: no control characters."""
    if not value.isprintable():
        code = next(ord(char) for char in value if not char.isprintable())
        wrong.add(field, f"contains U+{code:04X}; use printable characters only")


def check_number(value: int, field: str, least: int, most: int, wrong: Violations, unit: str = "") -> None:
    """A number in a closed range."""
    if not least <= value <= most:
        wrong.add(field, f"is {value}; it must be from {least:,} to {most:,}{unit}")


def check_duration(value: int, field: str, least_ms: int, most_ms: int, default: str, wrong: Violations) -> None:
    """A duration in milliseconds, or 0 for `default`."""
    if value and not least_ms <= value <= most_ms:
        wrong.add(field, f"is {value}; it must be from {least_ms:,} to {most_ms:,} ms, or 0 for {default}")


def check_fraction(value: float, field: str, wrong: Violations) -> None:
    """A number from 0 to 1; NaN is none."""
    if not 0 <= value <= 1:
        wrong.add(field, f"is {value}; it must be from 0 to 1")


def check_finite(value: float, field: str, least: float, most: float, wrong: Violations) -> None:
    """A finite number in a closed range."""
    if not isfinite(value) or not least <= value <= most:
        wrong.add(field, f"is {value}; it must be from {least:,} to {most:,}")


def check_bytes(size: int, field: str, most: int, limit: str, wrong: Violations) -> None:
    """The size of what is opaque to the queue."""
    if size > most:
        wrong.too_large(field, f"has {size:,} bytes; at most {most:,} are allowed ({limit})")


def check_text(value: str, field: str, bytes_max: int, limit: str, wrong: Violations) -> None:
    """Text for people, limited by its UTF-8 bytes."""
    if len(value) * 4 > bytes_max and (size := len(value.encode())) > bytes_max:
        wrong.add(field, f"has {size:,} bytes; at most {bytes_max:,} are allowed ({limit})")


def read_labels(labels: Mapping[str, str], field: str, bytes_max: int, wrong: Violations) -> dict[str, str] | None:
    """Metadata as a plain dict; None when there is none."""
    if not labels:
        return None
    read = dict(labels)
    size = sum(len(key.encode()) + len(value.encode()) for key, value in read.items())
    check_bytes(size, field, bytes_max, "metadata_bytes", wrong)
    for key in read:
        if not key or not key.isprintable():
            wrong.add(field, f"has the key {shown(key)}; keys must have printable characters, at least one")
    return read


def check_count(count: int, field: str, most: int, limit: str, wrong: Violations, *, least: int = 0) -> None:
    """How many elements a repeated field has."""
    if count > most:
        wrong.add(field, f"has {count:,} elements; at most {most:,} are allowed ({limit})")
    elif count < least:
        wrong.add(field, f"is empty; it must have from {least} to {most:,} elements ({limit})")
