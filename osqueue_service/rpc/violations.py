"""What is wrong with one request, collected so that a caller learns all of it at once."""

from osqueue_service.errors import InvalidRequest, PayloadTooLarge, Violation

# What a refusal names. It travels in the call's trailing metadata, of which clients accept 8 KiB by default.
SHOWN_MAX = 12
SHOWN_CHARS_MAX = 1_500


class Violations:
    """Collects violations of one request, or of one item of a batch after the other.

    With `items` ("jobs"), fields are named from the request's root ("jobs[3].type"), and `index` says which item is
    being read. Without, fields are named relative to the item.
    """

    __slots__ = ("_found", "_too_large", "_unshown", "index", "items", "part")

    def __init__(self, items: str = "") -> None:
        self.items = items
        self.index = -1
        self.part = ""
        """The part of the item that is being read: "submit_on_dead." stands before the names of its fields."""
        self._found: list[Violation] = []
        self._unshown = 0
        self._too_large = True

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, field: str, description: str) -> None:
        """The field is missing, malformed or beyond its limit; the description says what would be right."""
        self._too_large = False
        self._add(field, description)

    def too_large(self, field: str, description: str) -> None:
        """The field has more bytes than its limit."""
        self._add(field, description)

    def refusal(self) -> InvalidRequest:
        """What was wrong, as an error; then begin anew."""
        found, unshown, too_large = self._found, self._unshown, self._too_large
        self._found, self._unshown, self._too_large = [], 0, True
        message = "; ".join(f"{field}: {description}" for field, description in found)
        if unshown:
            message += f"; and {unshown} more"
        kind = PayloadTooLarge if too_large else InvalidRequest
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
