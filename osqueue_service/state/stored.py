"""Reading stored bytes whose checksum was right.

What does not fit was then written so on purpose, as a rule by a release that knows more than this one:
that is told apart from bytes that mean nothing in any release.
"""

from typing import TypeVar

import msgspec

T = TypeVar("T")

FAULTS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError)
"""What decoding bytes of any kind may raise."""


class Unreadable(ValueError):
    """The bytes mean nothing: no release writes such."""


class Newer(ValueError):
    """The bytes are in order, and hold something that this release does not know; the message says what."""


def decode(decoder: msgspec.msgpack.Decoder[T], body: bytes | msgspec.Raw) -> T:
    """The MessagePack value in `body`. Raises `Unreadable` or `Newer`."""
    try:
        return decoder.decode(body)
    except FAULTS as error:
        problem = str(error)
    try:
        msgspec.msgpack.decode(body)
    except FAULTS as error:
        raise Unreadable(str(error)) from None
    raise Newer(problem)
