"""What a caller sends to have the next page of a walk."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b

import msgspec
from google.protobuf.message import Message
from msgspec import Struct

from osqueue_service.errors import InvalidRequest
from osqueue_service.state.index import NUMBERS
from osqueue_service.state.state import State


class PageToken(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a page begins: after the job with this number, in the walk that `walk` identifies. `at_ms` is the moment of
    that job where the walk goes by moments."""

    walk: bytes
    after: int
    at_ms: int = 0


_decoder = msgspec.msgpack.Decoder(PageToken)


class Walk:
    """One question asked page by page: what identifies it must be the same for each page."""

    def __init__(self, rpc: str, asked: Message | None, view: int = 0) -> None:
        content = asked.SerializeToString(deterministic=True) if asked is not None else b""
        self._identity = f"{rpc}\0{view}\0".encode() + content

    def start(self, state: State, page_token: str) -> int:
        """The number after which the page begins; INVALID_REQUEST for a token that does not belong here."""
        if not page_token:
            return 0
        try:
            token = _decoder.decode(urlsafe_b64decode(page_token.encode()))
        except (ValueError, msgspec.MsgspecError):
            raise InvalidRequest.field(
                "page_token", "is not a token of this queue; send next_page_token as it was given"
            ) from None
        if token.walk != self._mark(state):
            raise InvalidRequest.field(
                "page_token", "was given by another queue, or for another filter, view or order; begin again without it"
            )
        return token.at_ms * NUMBERS + token.after

    def token(self, state: State, after: int) -> str:
        """What to send for the page that begins after this number."""
        at_ms, number = divmod(after, NUMBERS)
        return urlsafe_b64encode(msgspec.msgpack.encode(PageToken(self._mark(state), number, at_ms))).decode()

    def _mark(self, state: State) -> bytes:
        return blake2b(state.salt.encode() + self._identity, digest_size=8).digest()
