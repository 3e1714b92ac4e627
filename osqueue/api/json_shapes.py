"""The JSON form of the API's messages: of REST and WebSocket on both sides, of `--json` and of the dashboard.

camelCase keys, int64 as numbers, enums by their short names, zero values written out. What is absent in a message is
absent in JSON: `optional` fields and messages that are not set, and the few strings in `ABSENT_WHEN_EMPTY`. A field of
bytes has two keys: `payload` for JSON text, verbatim, and `payloadBase64` for anything else.

A request is read to the letter and every wrong key named; of an answer, what only a newer gateway knows is passed over.
Connect has protobuf's own JSON instead.
"""

from functools import cache
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from osqueue.api.descriptors import message_class
from osqueue.api.json_readers import VIOLATIONS_MAX, Reader, ShapeError, answer_filler, bytes_readers, field_reader
from osqueue.api.json_text import JsonError, Raw, members, shortened
from osqueue.api.json_writers import field_writer
from osqueue.errors import Violation

M = TypeVar("M", bound=Message)

ABSENT_WITHOUT = {"osqueue.v1.ClaimJobResponse": "job_id"}
"""Messages that are empty objects while this field is not set."""


class Shape:
    """How one type of message reads and writes as JSON."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.message = message_class(descriptor)
        self._readers: dict[str, tuple[str, Reader]] = {}
        self._writers = [field_writer(field, _answer_writer, verbatim=True) for field in descriptor.fields]
        self._request_writers = {
            field.name: field_writer(field, _request_writer, verbatim=False) for field in descriptor.fields
        }
        self._whole = ABSENT_WITHOUT.get(descriptor.full_name)
        for field in descriptor.fields:
            if field.type == FieldDescriptor.TYPE_BYTES:
                readers = bytes_readers(field)
            else:
                readers = {field.json_name: field_reader(field, _part_reader)}
            self._readers |= {key: (field.name, reader) for key, reader in readers.items()}

    def read(self, text: bytes | Raw, path: str = "", given: dict[str, Any] | None = None) -> Message:
        """The message that a JSON object holds; `given` are fields known otherwise, which it may not repeat."""
        prefix = path + "." if path else ""
        try:
            found = members(text)
        except JsonError as error:
            raise ShapeError([Violation(path, str(error))]) from None
        values: dict[str, Any] = dict(given) if given else {}
        wrong: list[Violation] = []
        for key, raw in found.items():
            if len(wrong) >= VIOLATIONS_MAX:
                break
            reader = self._readers.get(key)
            if reader is None:
                wrong.append(
                    Violation(prefix + shortened(key), f"is not a key of this request; its keys are {self.keys(given)}")
                )
                continue
            name, read = reader
            if name in values:
                wrong.append(Violation(prefix + key, f"is given twice, as {self._twin(key, given)}"))
                continue
            try:
                values[name] = read(raw, prefix + key)
            except ShapeError as error:
                wrong.extend(error.violations)
            except JsonError as error:
                wrong.append(Violation(prefix + key, str(error)))
        if wrong:
            raise ShapeError(wrong)
        return self.message(**values)

    def write(self, message: Message) -> dict[str, Any]:
        """An answer as an object for `encode`: all of it."""
        if self._whole is not None and not message.HasField(self._whole):
            return {}
        out: dict[str, Any] = {}
        for write in self._writers:
            write(message, out)
        return out

    def write_request(self, message: Message) -> dict[str, Any]:
        """A request as an object for `encode`: what is set. Whoever reads it has the very same message."""
        out: dict[str, Any] = {}
        for field, _ in message.ListFields():
            self._request_writers[field.name](message, out)
        return out

    def keys(self, given: dict[str, Any] | None = None) -> str:
        """All keys of a request, for people."""
        return ", ".join(key for key, (name, _) in self._readers.items() if not given or name not in given)

    def _twin(self, key: str, given: dict[str, Any] | None) -> str:
        name = self._readers[key][0]
        if given and name in given:
            return "it stands in the path already"
        return " and ".join(other for other, (field, _) in self._readers.items() if field == name)


@cache
def shape(descriptor: Descriptor) -> Shape:
    """The shape of a type of message."""
    return Shape(descriptor)


def read_answer(text: bytes | Raw, into: M) -> M:
    """Fill the message from the text of an answer, and return it. `JsonError` names what does not have its shape."""
    answer_filler(into.DESCRIPTOR)(text, into)
    return into


def _part_reader(descriptor: Descriptor) -> Reader:
    return lambda raw, path: shape(descriptor).read(raw, path)


def _answer_writer(descriptor: Descriptor) -> Any:
    return shape(descriptor).write


def _request_writer(descriptor: Descriptor) -> Any:
    return shape(descriptor).write_request
