"""What an encoded payload or result begins with: the codec that made it, and the key that opens it.

00 6f 73 71 01    no JSON begins like this
1 byte, name      the codec
1 byte, key       the key's id, empty for codecs that have none
the rest          what the codec made of the bytes
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, Self

from osqueue.errors import CodecError

MAGIC = b"\x00osq\x01"

AS_IT_IS = "as-it-is"
"""Stands for no codec at all: bytes that only look like an envelope."""

NAME_BYTES = 255
"""As long as a codec's name, or a key's id, may be."""


@dataclass(slots=True, frozen=True)
class About:
    """What the bytes are: the payload of a job of the type `name`, or the result of the job of the id `name`.

    `repeat` is the same wherever the very same bytes are to be encoded to the same bytes again, such as for another
    submission with the same idempotency key, and different otherwise. It is "" in decoding.
    """

    kind: Literal["payload", "result"]
    name: str
    repeat: str = ""


class Codec(Protocol):
    """Makes other bytes of payloads and results, and the same ones again of those. It must not block: calls are made in
    the event loop. Whatever it raises is told as a `CodecError` of that job alone."""

    @property
    def name(self) -> str:
        """What envelopes call it: text of at most 255 bytes that never changes."""
        ...

    @property
    def required(self) -> bool:
        """Bytes that it did not make are refused in decoding."""
        ...

    def encode(self, data: bytes, about: About) -> "Envelope | None":
        """The bytes in an envelope of its name; None leaves them as they are."""
        ...

    def decode(self, envelope: "Envelope", about: About) -> bytes:
        """The bytes that `encode` was given."""
        ...


class Envelope(NamedTuple):
    """Encoded bytes, with what it takes to decode them."""

    codec: str
    key: str
    body: bytes

    def to_bytes(self) -> bytes:
        """The envelope as it travels."""
        return header(self.codec, self.key) + self.body

    @classmethod
    def of(cls, data: bytes) -> Self | None:
        """The envelope that the bytes are; None when they are none. `CodecError` when it is cut short."""
        if not data.startswith(MAGIC):
            return None
        try:
            codec, rest = _text(data, len(MAGIC))
            key, rest = _text(data, rest)
        except (IndexError, ValueError) as error:
            raise CodecError("is cut short, or not what a codec made") from error
        return cls(codec, key, data[rest:])


class Sealed(bytes):
    """Bytes that could not be decoded, and why. Who asks for their value is told."""

    error: CodecError

    @classmethod
    def because(cls, error: CodecError, data: bytes) -> Self:
        """The bytes as they came, in an envelope in any case: nothing may take them for JSON."""
        sealed = cls(data if data.startswith(MAGIC) else header(AS_IT_IS, "") + data)
        sealed.error = error
        return sealed


def header(codec: str, key: str) -> bytes:
    """What stands before the body."""
    parts = codec.encode(), key.encode()
    for part in parts:
        if len(part) > NAME_BYTES:
            raise CodecError(f"the name of a codec or key has {len(part)} bytes; at most {NAME_BYTES} are allowed")
    return MAGIC + b"".join(bytes((len(part),)) + part for part in parts)


def refusal(data: bytes) -> CodecError | None:
    """Why these bytes have no value: they could not be decoded, or nobody has tried. None when they are plain."""
    if isinstance(data, Sealed):
        return data.error
    if not data.startswith(MAGIC):
        return None
    try:
        envelope = Envelope.of(data)
    except CodecError as error:
        return error
    assert envelope is not None
    return CodecError(f"is {described(envelope)}, and this client has no codec for it: give it `codecs`")


def described(envelope: Envelope) -> str:
    """For people: what was done to the bytes."""
    if envelope.codec == "aes256gcm":
        return f"encrypted with the key {envelope.key!r}"
    return f"encoded by {envelope.codec!r}" + (f" with the key {envelope.key!r}" if envelope.key else "")


def encoding_of(data: bytes) -> str:
    """For people: what was done to the bytes, such as "encrypted with the key '2027-01'"; "" when nothing was."""
    try:
        envelope = Envelope.of(data)
    except CodecError:
        return "encoded, but cut short"
    return "" if envelope is None else described(envelope)


def _text(data: bytes, start: int) -> tuple[str, int]:
    end = start + 1 + data[start]
    if end > len(data):
        raise ValueError("cut short")
    return data[start + 1 : end].decode(), end
