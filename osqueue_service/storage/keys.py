"""What a key may look like, checked the same way by every store."""

import re

# S3 and GCS allow 1,024 bytes for prefix and key together; half of it is left to the prefix.
KEY_BYTES_MAX = 512
# The longest file name of every common file system is 255 bytes.
SEGMENT_BYTES_MAX = 255

_KEY = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")
_PREFIX = re.compile(r"(?:[A-Za-z0-9._-]+/)*[A-Za-z0-9._-]*")


class InvalidKey(ValueError):
    """A key that no object may have: a mistake of whoever asks, not an answer of the store."""


def check_key(key: str) -> None:
    """Raise `InvalidKey` unless `key` is a relative path that means the same on every store."""
    if not _KEY.fullmatch(key):
        raise InvalidKey(f"object key {key!r}: must be segments of A-Z a-z 0-9 . _ - joined by single slashes")
    _check_segments(key)


def check_prefix(prefix: str) -> None:
    """Raise `InvalidKey` unless `prefix` is the beginning of a key: `""`, `log/` and `log/00` all are."""
    if not _PREFIX.fullmatch(prefix):
        raise InvalidKey(
            f"key prefix {prefix!r}: must be the beginning of a key of A-Z a-z 0-9 . _ - and single slashes"
        )
    _check_segments(prefix.rpartition("/")[0] or "a")


def _check_segments(key: str) -> None:
    if len(key) > KEY_BYTES_MAX:
        raise InvalidKey(f"object key {key[:40]!r}...: {len(key)} bytes, the limit is {KEY_BYTES_MAX}")
    for segment in key.split("/"):
        if segment in (".", ".."):
            raise InvalidKey(f"object key {key!r}: a segment must not be . or ..")
        if len(segment) > SEGMENT_BYTES_MAX:
            raise InvalidKey(f"object key {key[:40]!r}...: a segment must not exceed {SEGMENT_BYTES_MAX} bytes")
