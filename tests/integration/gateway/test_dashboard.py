"""How the dashboard's files are served: to whom, under which policy, how large."""

import gzip
import re
from base64 import urlsafe_b64encode

import aiohttp
import pytest

from tests.integration.gateway.gateways import Caller, gateway_and_broker

PAGES = ("/", "/jobs", "/jobs/0123abc", "/dead", "/types", "/workers", "/producer", "/worker")
TRANSFERRED_BYTES_MAX = 300_000
TOKEN = 'open"sesame/+=~'


async def test_every_page_is_the_document(caller: Caller) -> None:
    for path in (*PAGES, "/jobs?status=dead"):
        asked = await caller.ask("GET", path, Accept_Encoding="identity")
        assert asked.status == 200, path
        assert asked.headers["Content-Type"] == "text/html; charset=utf-8"
        assert b"/dashboard/main.js" in asked.body


async def test_what_is_no_page_is_answered_as_ever(caller: Caller) -> None:
    for path in ("/jobs/", "/jobs/a/b", "/jobs/é", "/dashboard", "/dashboard/", "/dashboard/none.js", "/overview"):
        asked = await caller.ask("GET", path)
        assert asked.status == 404, path
        assert asked.json()["_tag"] == "BrokerProtocolError"
    asked = await caller.ask("POST", "/jobs", "{}")
    assert (asked.status, asked.headers["Allow"]) == (405, "GET")


async def test_only_what_a_browser_needs_is_served(caller: Caller) -> None:
    for path in ("tsconfig.json", "vendor/README.md", "vendor/preact.d.ts", "../config.py", "%2e%2e/config.py"):
        assert (await caller.ask("GET", f"/dashboard/{path}")).status == 404, path


async def test_scripts_run_from_our_own_files_only(caller: Caller) -> None:
    for path in PAGES:
        policy = (await caller.ask("GET", path)).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "style-src 'self';" in policy
        assert "unsafe" not in policy
        assert "require-trusted-types-for 'script'" in policy
        dials = path in ("/producer", "/worker")  # where another gateway's address may be typed in
        assert ("connect-src 'self';" in policy) != dials, path
    page = (await caller.ask("GET", "/", Accept_Encoding="identity")).body.decode()
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=", page)


async def test_a_browser_that_has_a_file_is_told_so(caller: Caller) -> None:
    first = await caller.ask("GET", "/dashboard/main.js", Accept_Encoding="identity")
    again = await caller.ask("GET", "/dashboard/main.js", If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    assert (await caller.ask("GET", "/dashboard/main.js", If_None_Match='"other"')).status == 200


async def test_a_browser_that_can_unpack_gets_less(caller: Caller) -> None:
    plain = await caller.ask("GET", "/dashboard/main.js", Accept_Encoding="identity")
    packed = await caller.ask("GET", "/dashboard/main.js", Accept_Encoding="gzip, br")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    head = await caller.ask("HEAD", "/dashboard/main.js", Accept_Encoding="identity")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(plain.body)), b"")


async def test_the_whole_is_light_even_unpacked(caller: Caller) -> None:
    seen, found, size = set[str](), ["/"], 0
    while found:
        path = found.pop()
        if path in seen:
            continue
        seen.add(path)
        asked = await caller.ask("GET", path, Accept_Encoding="identity")
        assert asked.status == 200, path
        size += len(asked.body)
        text = asked.body.decode()
        found += re.findall(r'(?:src|href)="(/dashboard/[^"]+)"', text)
        folder = path.rpartition("/")[0]
        found += [_resolved(folder, name) for name in re.findall(r'(?:from|import) ?"(\.\.?/[^"]+)"', text)]
    assert len(seen) > 30
    assert size <= TRANSFERRED_BYTES_MAX


def _resolved(folder: str, name: str) -> str:
    while name.startswith("../"):
        folder, name = folder.rpartition("/")[0], name[3:]
    return f"{folder}/{name.removeprefix('./')}"


async def test_with_a_token_the_files_are_open_and_the_calls_are_not() -> None:
    async with gateway_and_broker(token=TOKEN) as caller:
        for path in (*PAGES, "/dashboard/main.js"):
            assert (await caller.ask("GET", path)).status == 200, path
        for path in ("/v1/stats", "/dashboard/none.js", "/docs"):
            assert (await caller.ask("GET", path)).status in (401, 404), path
        assert (await caller.ask("GET", "/v1/stats")).status == 401


async def test_without_a_token_the_files_are_for_this_machine_only(caller: Caller) -> None:
    assert (await caller.ask("GET", "/", X_Forwarded_For="203.0.113.9")).status == 403
    assert (await caller.ask("GET", "/dashboard/main.js", Host="evil.example")).status == 403


def _offered(token: str) -> list[str]:
    return ["osqueue", "osqueue.bearer." + urlsafe_b64encode(token.encode()).decode().rstrip("=")]


async def test_a_page_shows_the_token_among_the_websockets_protocols() -> None:
    async with gateway_and_broker(token=TOKEN) as caller:
        async with caller.socket(protocols=_offered(TOKEN)) as socket:
            assert socket.protocol == "osqueue", "the token is not echoed"
            await socket.send_str('{"id": 1, "method": "getStats"}')
            assert (await socket.receive_json())["ok"] is True
        for protocols in ([], ["osqueue"], _offered("wrong"), ["osqueue.bearer."]):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await caller.socket(protocols=protocols)
            assert refused.value.status == 401
