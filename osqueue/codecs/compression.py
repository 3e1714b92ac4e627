"""Payloads and results that take less room."""

from typing import Any

from osqueue.codecs.envelope import About, Envelope
from osqueue.errors import CodecError, ConfigError

SMALLEST_BYTES = 256
"""What is smaller does not gain by it."""

LARGEST_BYTES = 64 * 1024 * 1024
"""As much as compressed bytes may come to: a few of them can stand for any number."""


class Compression:
    """Zstandard. Bytes that do not get smaller stay as they are. Put it before `Encryption`; how far a payload shrinks
    then shows in its length, which tells something of it to who can choose a part of it."""

    name = "zstd"
    required = False

    def __init__(self, level: int = 3) -> None:
        try:
            import zstandard
        except ImportError as error:
            raise ConfigError("compression needs another package: pip install 'osqueue[compression]'") from error
        if not 1 <= level <= 19:
            raise ConfigError(f"level: is {level}, must be from 1 to 19")
        self._compressor = zstandard.ZstdCompressor(level=level)
        self._decompressor = zstandard.ZstdDecompressor()
        self._size: Any = zstandard.frame_content_size
        self._damaged: Any = zstandard.ZstdError

    def encode(self, data: bytes, about: About) -> Envelope | None:
        """The bytes compressed; None where that gains nothing."""
        if len(data) < SMALLEST_BYTES:
            return None
        body = self._compressor.compress(data)
        return Envelope(self.name, "", body) if len(body) < len(data) else None

    def decode(self, envelope: Envelope, about: About) -> bytes:
        """The bytes that were compressed. `CodecError` for damaged ones, and for too many."""
        try:
            size = self._size(envelope.body)
            if not 0 <= size <= LARGEST_BYTES:
                raise CodecError(f"is compressed, and says to come to {size} bytes; at most {LARGEST_BYTES} are read")
            return bytes(self._decompressor.decompress(envelope.body, max_output_size=LARGEST_BYTES))
        except self._damaged as error:
            raise CodecError(f"is compressed, and damaged: {error}") from error
