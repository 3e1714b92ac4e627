"""What the first format wrote otherwise, brought into the form of this one.

Queues of that format are read once, by the first leader of a later release, whose first act is a checkpoint in its own
format. Nothing writes the first format any more.

- The twelfth field of a JobSpec was the id of an adopted job; now it is `more`.
- Ids of jobs were the salt and the number in hexadecimal: `ids_from` is 0 until the new leader renews them.
- Completed and AttemptsEnded did not say how many attempts are kept: it was 20.
- Forgotten said how many are forgotten of each table, not which.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import msgspec

from osqueue_service.state.memory import Memory
from osqueue_service.state.state import State
from osqueue_service.state.stored import FAULTS, Newer, Unreadable

FORMAT = 1
_HISTORY = 20

_FOUNDED, _SUBMITTED, _COMPLETED, _ATTEMPTS_ENDED, _FORGOTTEN = 1, 2, 4, 5, 11
_SPEC_ID = 11
_JOBS_OF_SUBMITTED = 2

Raw = bytes | msgspec.Raw


def commit_parts(body: bytes) -> tuple[Any, list[Callable[[State], bytes]]]:
    """The stamp of a commit, and for each record what makes today's record of it, given the state before it."""
    at_ms, records = _shaped(lambda: _pair(msgspec.msgpack.decode(body)))
    return at_ms, [_later(record) for record in records]


def image_part(format: int, kind: int, raw: Raw) -> bytes:
    """The content of an image's part, brought up to date."""
    if format != FORMAT:
        raise Newer(f"the image has format {format}")

    def renewed() -> Any:
        content = msgspec.msgpack.decode(raw)
        if kind == 0:
            content = [2, *content[1:], *([0] if len(content) == 6 else [])]
        elif kind == 1:
            for image in content:
                _renew_spec(image[0])
        return content

    return msgspec.msgpack.encode(_shaped(renewed))


def _later(record: Any) -> Callable[[State], bytes]:
    return lambda state: msgspec.msgpack.encode(_shaped(lambda: _record(record, state)))


def _record(record: list[Any], state: State) -> list[Any]:
    tag = record[0]
    if tag == _FOUNDED:
        return [tag, record[1], 0]
    if tag == _SUBMITTED:
        for spec in record[_JOBS_OF_SUBMITTED]:
            _renew_spec(spec)
    elif tag in (_COMPLETED, _ATTEMPTS_ENDED):
        return [*record, _HISTORY]
    elif tag == _FORGOTTEN:
        tables: tuple[Memory[Any], ...] = (state.keys, state.requests, state.settled)
        return [tag, *(list(islice(table.keys(), count)) for table, count in zip(tables, record[1:], strict=True))]
    return record


def _renew_spec(spec: list[Any]) -> None:
    if len(spec) > _SPEC_ID:
        spec[_SPEC_ID] = {"id": spec[_SPEC_ID]} if spec[_SPEC_ID] else None


def _pair(decoded: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    at_ms, records = decoded
    return int(at_ms), list(records)


def _shaped(step: Callable[[], Any]) -> Any:
    """What `step` makes of decoded bytes; whatever their shape does not allow is `Unreadable`."""
    try:
        return step()
    except (*FAULTS, TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
        if isinstance(error, Newer | Unreadable):
            raise
        raise Unreadable(str(error)) from None
