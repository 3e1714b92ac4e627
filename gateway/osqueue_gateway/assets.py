"""The dashboard: its files under gateway/osqueue_gateway/dashboard/, read once and served as they are.

The files are public, they hold no data; every figure they show comes from calls that ask for the token. Each page is
the same document, which finds out from its address what to show.
"""

import gzip
import re
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from aiohttp import hdrs, web

from osqueue_gateway.wire import NO_SNIFFING, SERVER

DIRECTORY = Path(__file__).parent / "dashboard"
PREFIX = "/dashboard/"
DOCUMENT = "index.html"

_MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What is served, by suffix; whatever else lies in the directory is not."""

_PAGES = re.compile(
    r"/(?:(?:jobs|workflows|batches)(?:/[0-9A-Za-z_-]{1,64})?"
    r"|schedules(?:/[A-Za-z][0-9A-Za-z._-]{0,127})?|dead|types|workers)?"
)
_PAGES_THAT_DIAL = ("/producer", "/worker")
"""Pages on which a person may enter the address of another gateway."""

_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {connect}; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
OWN = _CONTENT_SECURITY_POLICY.format(connect="'self'")
ANYWHERE = _CONTENT_SECURITY_POLICY.format(connect="'self' http: https: ws: wss:")


class Asset(NamedTuple):
    """One file, ready to be sent."""

    media: str
    body: bytes
    packed: bytes
    """The same, compressed with gzip."""
    tag: str
    """Changes with the content."""


def is_dashboard(path: str) -> bool:
    """Whether the path is a page of the dashboard or one of its files."""
    return path.startswith(PREFIX) or path in _PAGES_THAT_DIAL or _PAGES.fullmatch(path) is not None


def find(path: str) -> Asset | None:
    """The file to send for a path of the dashboard."""
    return _assets().get(path[len(PREFIX) :] if path.startswith(PREFIX) else DOCUMENT)


async def answer(http: web.BaseRequest, path: str, asset: Asset) -> web.StreamResponse:
    """The file, or 304 to a browser that has it already."""
    headers = {
        hdrs.SERVER: SERVER,
        NO_SNIFFING: "nosniff",
        hdrs.ETAG: asset.tag,
        hdrs.CACHE_CONTROL: "no-cache",  # kept, and asked about: an upgrade of the gateway shows at once
        hdrs.VARY: hdrs.ACCEPT_ENCODING,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
        "Content-Security-Policy": ANYWHERE if path in _PAGES_THAT_DIAL else OWN,
    }
    if asset.tag in (tag.strip() for tag in http.headers.get(hdrs.IF_NONE_MATCH, "").split(",")):
        return web.Response(status=304, headers=headers)
    headers[hdrs.CONTENT_TYPE] = asset.media
    if "gzip" in http.headers.get(hdrs.ACCEPT_ENCODING, ""):
        return web.Response(body=asset.packed, headers={**headers, hdrs.CONTENT_ENCODING: "gzip"})
    return web.Response(body=asset.body, headers=headers)


@cache
def _assets() -> dict[str, Asset]:
    """Every file by its path below the directory."""
    return {
        file.relative_to(DIRECTORY).as_posix(): _read(file)
        for file in sorted(DIRECTORY.rglob("*"))
        if file.suffix in _MEDIA and file.is_file()
    }


def _read(file: Path) -> Asset:
    body = file.read_bytes()
    tag = f'"{sha256(body).hexdigest()[:20]}"'
    return Asset(_MEDIA[file.suffix], body, gzip.compress(body, mtime=0), tag)
