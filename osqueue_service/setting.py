"""One thing that a broker can be told: its names, its default, and how its text is read."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from osqueue_service.errors import ConfigError

Parse = Callable[[str], Any]
"""Makes a value of a text, or raises a ValueError that says what it must be."""

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SPAN_MS_MAX = 365 * 86_400_000
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("", "0", "false", "no", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """`name` is the environment variable; `flag`, where there is one, the option of the command line, without dashes.
    The value of a `secret` is shown nowhere."""

    name: str
    flag: str
    default: Any
    parse: Parse
    help: str
    secret: bool = False
    required: bool = False

    def read(self, text: str) -> Any:
        """The value of this text. `ConfigError` names the setting and says what it must be."""
        try:
            return self.parse(text.strip())
        except ValueError as problem:
            shown = "its value" if self.secret or "@" in text else repr(text)
            raise ConfigError(f"{self.name}: {shown} is not allowed; {problem}") from None


def whole_number(least: int, most: int) -> Parse:
    """A whole number within these bounds."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise ValueError(f"it must be a whole number from {least:,} to {most:,}")
        return int(text)

    return parse


def span(text: str) -> int:
    """A length of time with its unit, up to a year; in milliseconds."""
    match = re.fullmatch(r"([0-9]{1,9})(s|m|h|d)|0", text)
    length_ms = int(match[1] or 0) * _UNITS_MS[match[2]] if match and match[1] else 0
    if match is None or length_ms > _SPAN_MS_MAX:
        raise ValueError("it must be a length of time with its unit, such as 90s, 30m, 24h or 7d, at most 365d; or 0")
    return length_ms


def one_of(allowed: Callable[[], Sequence[str]]) -> Parse:
    """One of these words, whatever its case."""

    def parse(text: str) -> str:
        if text.lower() not in allowed():
            raise ValueError(f"it must be one of {', '.join(allowed())}")
        return text.lower()

    return parse


def switch(text: str) -> bool:
    """1 or 0."""
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError("it must be 1 or 0")
    return text.lower() in _TRUE


def line(text: str) -> str:
    """Any line of text."""
    if not text.isprintable():
        raise ValueError("it must be one line of printable characters")
    return text


def host(text: str) -> str:
    """A host to listen on."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f]*:[0-9A-Fa-f.:%a-z]*:[0-9A-Fa-f.:%a-z]*", text):
        raise ValueError("it must be a host name or an IP address, without a port")
    return text


def address(text: str) -> str:
    """host:port."""
    match = _ADDRESS.fullmatch(text)
    if text and (match is None or not 0 < int(match[2]) < 65_536):
        raise ValueError("it must be host:port, such as broker-1.internal:8081")
    return text


def token(text: str) -> str:
    """What fits in a header."""
    if not re.fullmatch(r"[\x21-\x7e]*", text):
        raise ValueError("it must be visible ASCII characters without spaces, so that it fits in a header")
    return text


def endpoint_url(text: str) -> str:
    """Where a store answers. It is shown in many places, so that it must not hold a secret."""
    url = urlsplit(line(text))
    if "@" in text:
        raise ValueError("it must carry no credentials: they come from where the cloud's own tools look for them")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("it must be a URL that begins with http:// or https://")
    return text
