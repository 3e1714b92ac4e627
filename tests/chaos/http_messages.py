"""As much of HTTP/1.1 as a proxy between a broker and an object store needs: whole messages, byte for byte."""

import asyncio
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

HEAD_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 64 * 1024 * 1024

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Gone(Exception):
    """The other side closed the connection."""


@dataclass(frozen=True)
class Message:
    """A request or an answer. `raw_body` is as it travels, chunks and all."""

    start: str
    headers: tuple[tuple[str, str], ...]
    raw_body: bytes
    body: bytes = field(repr=False, default=b"")

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    def encode(self) -> bytes:
        head = "".join(f"{key}: {value}\r\n" for key, value in self.headers)
        return f"{self.start}\r\n{head}\r\n".encode("latin-1") + self.raw_body

    @property
    def method(self) -> str:
        return self.start.split(" ", 1)[0]

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.start.split(" ")[1]).path)

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1])


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Message:
    """The next request. A client that asks whether to send the body is told to."""
    start, headers = await _read_head(reader)
    if any(key.lower() == "expect" for key, _ in headers):
        writer.write(CONTINUE)
        headers = [(key, value) for key, value in headers if key.lower() != "expect"]
    raw, body = await _read_body(reader, {key.lower(): value for key, value in headers}, until_closed=False)
    return Message(start, tuple(headers), raw, body)


async def read_answer(reader: asyncio.StreamReader, request: Message) -> Message:
    """The answer to `request`."""
    start, headers = await _read_head(reader)
    status = int(start.split(" ")[1])
    if request.method == "HEAD" or status in (204, 304):
        return Message(start, tuple(headers), b"")
    raw, body = await _read_body(reader, {key.lower(): value for key, value in headers}, until_closed=True)
    return Message(start, tuple(headers), raw, body)


def error_answer(status: int, code: str) -> bytes:
    """What S3 says when it cannot."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>by plan</Message></Error>".encode()
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, list[tuple[str, str]]]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise Gone from error
    start, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = [(key, value.strip()) for key, _, value in (line.partition(":") for line in lines)]
    return start, headers


async def _read_body(
    reader: asyncio.StreamReader, headers: dict[str, str], *, until_closed: bool
) -> tuple[bytes, bytes]:
    try:
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return await _read_chunks(reader)
        if "content-length" in headers:
            raw = await reader.readexactly(int(headers["content-length"]))
            return raw, raw
        raw = await reader.read(BODY_BYTES_MAX) if until_closed else b""
        return raw, raw
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise Gone from error


async def _read_chunks(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    raw, body = bytearray(), bytearray()
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        chunk = await reader.readexactly(size + 2)
        raw += line + chunk
        body += chunk[:size]
        if not size:
            return bytes(raw), bytes(body)
