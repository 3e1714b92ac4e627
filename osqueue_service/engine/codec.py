"""Commits as bytes: the MessagePack of `[stamp, [record, ...]]` (docs/data-format.md)."""

from collections.abc import Set

import msgspec
from msgspec import Struct

from osqueue_service.state import features, legacy
from osqueue_service.state.apply import apply
from osqueue_service.state.records import AnyRecord
from osqueue_service.state.state import State
from osqueue_service.state.stored import Newer, decode

FORMAT = 2
"""Of the records; the header of each segment names it."""


class Commit(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """The records of one commit and the time they are stamped with (ms)."""

    at_ms: int
    records: list[AnyRecord]


class _Stamp(Struct, array_like=True, gc=False):
    """The head of a commit of any format."""

    at_ms: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Commit)
_stamp_decoder = msgspec.msgpack.Decoder(_Stamp)
_record_decoder = msgspec.msgpack.Decoder(AnyRecord)


def encode_commit(at_ms: int, records: list[AnyRecord]) -> bytes:
    return _encoder.encode(Commit(at_ms, records))


def decode_commit(body: bytes, format: int = FORMAT) -> Commit:
    """The commit in `body`, for those who look. Raises `stored.Unreadable`, or `stored.Newer` for what a later release
    wrote. What a commit of the first format forgets is not in it, and is shown as nothing."""
    if format == legacy.FORMAT:
        at_ms, makers = legacy.commit_parts(body)
        return Commit(at_ms, [decode(_record_decoder, make(State())) for make in makers])
    return decode(_decoder, body)


def stamp_of(body: bytes) -> int:
    """When the commit in `body` was made, of whatever format. Raises `stored.Unreadable`."""
    return decode(_stamp_decoder, body).at_ms


def replay(state: State, body: bytes, format: int = FORMAT, understood: Set[str] = features.UNDERSTOOD) -> None:
    """Apply one commit to the state. A feature that is not understood is `stored.Newer`."""
    if format == legacy.FORMAT:
        at_ms, makers = legacy.commit_parts(body)
        for make in makers:
            apply(state, decode(_record_decoder, make(state)), at_ms)
        return
    commit = decode_commit(body)
    if unknown := features.missing(commit.records, understood):
        raise Newer(f"it uses {unknown}")
    for record in commit.records:
        apply(state, record, commit.at_ms)
