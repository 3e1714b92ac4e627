"""Commits as bytes: the MessagePack of `[stamp, [record, ...]]` (docs/data-format.md)."""

import msgspec
from msgspec import Struct

from osqueue_service.state.apply import apply
from osqueue_service.state.records import AnyRecord
from osqueue_service.state.state import State


class Commit(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """The records of one commit and the time they are stamped with (ms)."""

    at_ms: int
    records: list[AnyRecord]


class Unreadable(ValueError):
    """The bytes are not what this version writes or reads."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Commit)


def encode_commit(at_ms: int, records: list[AnyRecord]) -> bytes:
    return _encoder.encode(Commit(at_ms, records))


def decode_commit(body: bytes) -> Commit:
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise Unreadable(f"the records cannot be read, perhaps a later release wrote them: {error}") from error


def replay(state: State, body: bytes) -> None:
    """Apply one commit to the state."""
    commit = decode_commit(body)
    for record in commit.records:
        apply(state, record, commit.at_ms)
