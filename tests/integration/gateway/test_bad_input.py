"""Bad input of every kind: a tagged error or a closed connection, everybody else served, nothing changed."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from osqueue_gateway.limits import Limits
from tests.integration.gateway.gateways import Caller, gateway_and_broker
from tests.integration.gateway.scripted import until

GOOD = b'{"payload": 1}'
HOST_LINE = b"Host: localhost\r\n"
JSON_LINE = b"Content-Type: application/json\r\n"


@pytest.fixture
async def strict() -> AsyncIterator[Caller]:
    """A gateway with short timeouts."""
    limits = Limits(head_ms=600, body_ms=600, idle_ms=2_000, body_bytes=64 * 1024, connections=20, waits=8)
    async with gateway_and_broker(limits=limits) as caller:
        yield caller


async def answer_of(caller: Caller, request: bytes) -> tuple[int, dict[str, object]]:
    """Status and JSON of the answer to these bytes; (0, {}) when the connection is closed instead."""
    reader, writer = await caller.connection()
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return int(head.split()[1]), json.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return 0, {}
    finally:
        writer.close()


async def assert_untouched(caller: Caller) -> None:
    assert (await caller.get("/v1/stats"))["counts"]["submittedTotal"] == 0


DEEP = b"[" * 10_000 + b"]" * 10_000

BODIES = {
    "nothing": (b"", "payload"),
    "no JSON": (b"{payload: 1}", "not JSON"),
    "half JSON": (b'{"payload": {"a": ', "not JSON"),
    "two values": (b'{"payload": 1} {"payload": 2}', "not JSON"),
    "an array": (b'[{"payload": 1}]', "JSON object"),
    "a string": (b'"payload"', "JSON object"),
    "a byte order mark": (b'\xef\xbb\xbf{"payload": 1}', "not JSON"),
    "10,000 levels": (b'{"payload": ' + DEEP + b"}", "64 levels"),
    "65 levels": (b'{"payload": ' + b"[" * 65 + b"]" * 65 + b"}", "64 levels"),
    "levels elsewhere": (b'{"type": ' + b"[" * 70 + b"]" * 70 + b"}", "must be a string"),
    "NaN": (b'{"payload": NaN}', "not JSON"),
    "minus infinity": (b'{"payload": [-Infinity]}', "not JSON"),
    "a comment": (b'{"payload": 1 /* one */}', "not JSON"),
    "a trailing comma": (b'{"payload": [1,]}', "not JSON"),
    "invalid UTF-8 in the payload": (b'{"payload": "\xff\xfe"}', "UTF-8"),
    "invalid UTF-8 in a key": (b'{"payload": 1, "\xc3": 2}', "UTF-8"),
    "an overlong encoding": (b'{"payload": "\xc0\xaf"}', "UTF-8"),
    "a raw control character": (b'{"payload": "a\nb"}', "not JSON"),
    "half an escape": (b'{"payload": "\\u12"}', "not JSON"),
    "an unknown key": (b'{"payload": 1, "retries": 3}', "retries"),
    "a key in another case": (b'{"payload": 1, "max_attempts": 3}', "max_attempts"),
    "a prototype": (b'{"payload": 1, "__proto__": {}}', "__proto__"),
    "the key twice": (b'{"payload": 1, "payload": 2}', "twice"),
    "the key twice, once escaped": (b'{"payload": 1, "p\\u0061yload": 1}', "twice"),
    "payload and base64": (b'{"payload": 1, "payloadBase64": "MQ=="}', "twice"),
    "bad base64": (b'{"payloadBase64": "MQ"}', "base64"),
    "base64 for URLs": (b'{"payloadBase64": "_-8="}', "base64"),
    "a number for a string": (b'{"payload": 1, "type": 5}', "must be a string"),
    "null for a string": (b'{"payload": 1, "type": null}', "must be a string"),
    "a string for a number": (b'{"payload": 1, "maxAttempts": "3"}', "must be an integer"),
    "a fraction for an integer": (b'{"payload": 1, "maxAttempts": 3.5}', "must be an integer"),
    "a flag for an integer": (b'{"payload": 1, "maxAttempts": true}', "must be an integer"),
    "30 digits for an integer": (b'{"payload": 1, "priority": ' + b"9" * 30 + b"}", "from -2147483648"),
    "an infinite number": (b'{"payload": 1, "retryPolicy": {"initialMs": 1, "jitter": 1e999}}', "must be a number"),
    "an unknown key inside": (b'{"payload": 1, "retryPolicy": {"first": 1}}', "retryPolicy.first"),
    "a number among labels": (b'{"payload": 1, "metadata": {"a": 1}}', "metadata.a"),
    "a list for labels": (b'{"payload": 1, "metadata": []}', "metadata"),
    "a negative limit": (b'{"payload": 1, "maxAttempts": -1}', "max_attempts"),
    "a long type": (b'{"payload": 1, "type": "' + b"x" * 129 + b'"}', "type"),
    "a type with spaces": (b'{"payload": 1, "type": "a b"}', "type"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_bad_body_is_400_and_says_what_is_wrong(caller: Caller, name: str) -> None:
    body, expected = BODIES[name]
    asked = await caller.ask("POST", "/v1/jobs", body)
    error = asked.json()
    assert (asked.status, error["_tag"]) == (400, "BrokerProtocolError")
    assert expected in error["message"]
    await assert_untouched(caller)


async def test_several_wrong_keys_are_all_named(caller: Caller) -> None:
    asked = await caller.ask("POST", "/v1/batch/submit", '{"jobs": [{"payload": 1}, {"x": 1, "type": 2}], "y": 0}')
    assert {violation["field"] for violation in asked.json()["violations"]} == {"jobs[1].x", "jobs[1].type", "y"}
    await assert_untouched(caller)


@pytest.mark.parametrize(
    "payload",
    [
        "123456789012345678901234567890",
        '{"b": 1 , "a":\t2, "a": 3}',
        "[1.0, 1E400, -0, 1e-7]",
        '"\\u0041\\/ \\ud83d\\ude00"',
        "null",
        "[" * 64 + "]" * 64,
        " \n [ ] ",
    ],
)
async def test_odd_but_correct_json_is_kept_as_it_is(caller: Caller, payload: str) -> None:
    await caller.post("/v1/jobs", f'{{"payload":{payload}}}')
    asked = await caller.ask("POST", "/v1/jobs/claim", '{"workerId": "w"}')
    assert f'"payload":{payload.strip()},'.encode() in asked.body


MEDIA = [
    None,
    "text/plain",
    "text/plain; application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json; charset=utf-16",
    "application/jsonp",
    "application/proto",
]


@pytest.mark.parametrize("media", MEDIA)
async def test_mutations_need_the_media_type_of_json(caller: Caller, media: str | None) -> None:
    line = f"Content-Type: {media}\r\n".encode() if media else b""
    request = b"POST /v1/jobs HTTP/1.1\r\n" + HOST_LINE + line + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD
    status, error = await answer_of(caller, request)
    assert (status, error["_tag"]) == (415, "BrokerProtocolError")
    await assert_untouched(caller)


async def test_compressed_bodies_are_refused(caller: Caller) -> None:
    asked = await caller.ask("POST", "/v1/jobs", GOOD, Content_Encoding="gzip")
    assert asked.status == 415
    await assert_untouched(caller)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
async def test_other_methods_are_405_and_the_answer_lists_the_right_ones(caller: Caller, method: str) -> None:
    request = f"{method} /v1/jobs HTTP/1.1\r\n".encode() + HOST_LINE + b"\r\n"
    status, error = await answer_of(caller, request)
    assert status in ((400, 405) if method in ("CONNECT", "BREW") else (405,))
    assert error["_tag"] == "BrokerProtocolError"


async def test_a_stream_has_no_head(caller: Caller) -> None:
    for path in ("/v1/events", "/state"):
        asked = await caller.ask("HEAD", path)
        assert (asked.status, asked.headers["Allow"]) == (405, "GET")


async def test_405_says_what_is_allowed(caller: Caller) -> None:
    asked = await caller.ask("GET", "/v1/jobs/claim")
    assert (asked.status, asked.headers["Allow"]) == (405, "POST")


PATHS = [
    "/v1",
    "/v1/jobs/",
    "//v1/jobs",
    "/v1//jobs",
    "/v1/./jobs",
    "/v1/x/../jobs",
    "/v1/jobs/..",
    "/v1/%6aobs",
    "/v1/jobs%2fclaim",
    "/v1/jobs/a%00b",
    "/v1/jobs/a%2e%2e",
    "/v1/jobs/a;b=c",
    "/v1/jobs/a/complete/",
    "/v1/jobs/a/explode",
    "/v1/jobs/" + "a" * 65,
    "/V1/JOBS",
    "/docs/",
    "/gateway/app.py",
    "/osqueue.v1.QueueService/",
    "/osqueue.v1.QueueService/Nothing",
    "http://localhost/v1/stats",
    "*",
]


@pytest.mark.parametrize("path", PATHS)
async def test_paths_are_taken_as_they_come(caller: Caller, path: str) -> None:
    status, error = await answer_of(caller, f"GET {path} HTTP/1.1\r\n".encode() + HOST_LINE + b"\r\n")
    assert status in (400, 404)
    assert error["_tag"] == "BrokerProtocolError"


QUERIES = {
    "/v1/jobs?limit=1": "limit",
    "/v1/jobs?pageSize=x": "pageSize",
    "/v1/jobs?pageSize=1&pageSize=2": "pageSize",
    "/v1/jobs?view=basic": "view",
    "/v1/jobs?linearizable=1": "linearizable",
    "/v1/jobs?metadata=a": "metadata",
    "/v1/jobs?createdFrom=" + "9" * 30: "createdFrom",
    "/v1/jobs/abc?jobId=other": "jobId",
    "/v1/events?after=now": "after",
}


@pytest.mark.parametrize("path", QUERIES)
async def test_bad_query_parameters_are_named(caller: Caller, path: str) -> None:
    asked = await caller.ask("GET", path)
    assert asked.status == 400
    assert [violation["field"] for violation in asked.json()["violations"]] == [QUERIES[path]]


async def test_a_query_that_is_not_utf8_is_refused(caller: Caller) -> None:
    status, error = await answer_of(caller, b"GET /v1/jobs?types=%ff HTTP/1.1\r\n" + HOST_LINE + b"\r\n")
    assert (status, error["_tag"]) == (400, "BrokerProtocolError")


async def test_mutations_take_no_query(caller: Caller) -> None:
    assert (await caller.ask("POST", "/v1/jobs?type=x", GOOD)).status == 400
    await assert_untouched(caller)


POST = b"POST /v1/jobs HTTP/1.1\r\n"
LENGTH = b"Content-Length: 14\r\n"

HEADS = {
    "no host": POST + JSON_LINE + LENGTH + b"\r\n" + GOOD,
    "two hosts": POST + HOST_LINE + b"Host: evil\r\n" + JSON_LINE + LENGTH + b"\r\n" + GOOD,
    "a host with a path": POST + b"Host: localhost/x\r\n" + JSON_LINE + LENGTH + b"\r\n" + GOOD,
    "two lengths": POST + HOST_LINE + JSON_LINE + LENGTH + b"Content-Length: 2\r\n\r\n" + GOOD,
    "a negative length": POST + HOST_LINE + JSON_LINE + b"Content-Length: -1\r\n\r\n" + GOOD,
    "a length in words": POST + HOST_LINE + JSON_LINE + b"Content-Length: many\r\n\r\n" + GOOD,
    "length and chunks": POST + HOST_LINE + JSON_LINE + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown transfer": POST + HOST_LINE + JSON_LINE + b"Transfer-Encoding: gzip\r\n\r\n" + GOOD,
    "bad chunks": POST + HOST_LINE + JSON_LINE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n",
    "a space before the colon": POST + HOST_LINE + b"Content-Type : application/json\r\n" + LENGTH + b"\r\n" + GOOD,
    "a folded header": POST + HOST_LINE + JSON_LINE + b"X: a\r\n b\r\n" + b"X Y: 1\r\n" + LENGTH + b"\r\n" + GOOD,
    "a NUL in a header": POST + HOST_LINE + JSON_LINE + b"X: a\x00b\r\n" + LENGTH + b"\r\n" + GOOD,
    "a huge header": POST + HOST_LINE + b"X: " + b"a" * 20_000 + b"\r\n" + LENGTH + b"\r\n" + GOOD,
    "many headers": POST + HOST_LINE + b"".join(b"X%d: 1\r\n" % n for n in range(500)) + LENGTH + b"\r\n" + GOOD,
    "a huge path": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HOST_LINE + b"\r\n",
    "no HTTP at all": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + b"\x00" * 40,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"GET /v1/stats HTTP/9.9\r\n" + HOST_LINE + b"\r\n",
}


@pytest.mark.parametrize("name", HEADS)
async def test_a_bad_head_is_refused_or_the_connection_closed(caller: Caller, name: str) -> None:
    async with asyncio.timeout(5):
        status, error = await answer_of(caller, HEADS[name])
    assert status == 0 or 400 <= status < 500
    assert not status or error["_tag"] == "BrokerProtocolError"
    await assert_untouched(caller)


async def test_an_announced_body_that_is_too_large_is_not_read(strict: Caller) -> None:
    request = POST + HOST_LINE + JSON_LINE + b"Content-Length: 100000000\r\n\r\n{"
    status, error = await answer_of(strict, request)
    assert (status, error["reason"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_chunked_body_is_read_up_to_the_limit(strict: Caller) -> None:
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    request = POST + HOST_LINE + JSON_LINE + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 3
    status, error = await answer_of(strict, request)
    assert (status, error["reason"]) == (413, "PAYLOAD_TOO_LARGE")
    assert strict.gateway.budget.used == 0


async def test_chunks_make_a_body_like_any_other(caller: Caller) -> None:
    request = POST + HOST_LINE + JSON_LINE + b"Transfer-Encoding: chunked\r\n\r\n7\r\n" + GOOD[:7] + b"\r\n7\r\n"
    status, answer = await answer_of(caller, request + GOOD[7:] + b"\r\n0\r\n\r\n")
    assert (status, list(answer)) == (200, ["jobId"])


async def test_a_body_that_does_not_come_is_408(strict: Caller) -> None:
    status, error = await answer_of(strict, POST + HOST_LINE + JSON_LINE + LENGTH + b"\r\n" + GOOD[:5])
    assert (status, error["_tag"]) == (408, "BrokerProtocolError")
    await assert_untouched(strict)


@pytest.mark.parametrize("begun", [b"", b"P", POST, POST + HOST_LINE + b"X: "])
async def test_a_head_that_does_not_end_closes_the_connection(strict: Caller, begun: bytes) -> None:
    reader, writer = await strict.connection()
    writer.write(begun)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    assert strict.gateway.metrics.counted("heads_expired") == 1


async def test_dripping_does_not_prolong_a_head(strict: Caller) -> None:
    reader, writer = await strict.connection()
    writer.write(POST)

    async def drip() -> None:
        while True:
            writer.write(b"X: 1\r\n")
            await asyncio.sleep(0.02)

    dripping = asyncio.ensure_future(drip())
    async with asyncio.timeout(5):
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)
    dripping.cancel()
    writer.close()


async def test_slow_callers_do_not_hold_up_others(strict: Caller) -> None:
    slow = [await strict.connection() for _ in range(10)]
    for _, writer in slow:
        writer.write(POST + HOST_LINE)
    assert (await strict.get("/v1/stats"))["total"] == 0
    for _, writer in slow:
        writer.close()


async def test_connections_beyond_the_limit_are_told_so(strict: Caller) -> None:
    held = [await strict.connection() for _ in range(20)]
    for _, writer in held:  # each has begun to ask, so that none of them gives way
        writer.write(POST + HOST_LINE + b"Content-Type: application/json\r\nContent-Length: 10\r\n\r\n")
    server = strict.gateway._server
    await until(lambda: sum(each.asks_for_nothing_since is None for each in server.connections) == 20)
    status, error = await answer_of(strict, b"")
    assert (status, error["reason"]) == (503, "TOO_MANY_REQUESTS")
    for _, writer in held:
        writer.close()
        await writer.wait_closed()
    assert (await strict.get("/v1/stats"))["total"] == 0


async def test_waiting_calls_beyond_their_limit_are_429_and_hold_up_nobody_else(strict: Caller) -> None:
    claim = '{"workerId": "w", "waitMs": 20000}'
    waiting = [asyncio.ensure_future(strict.ask("POST", "/v1/jobs/claim", claim)) for _ in range(8)]
    await until(lambda: strict.gateway.calls.waiting == 8)
    asked = await strict.ask("POST", "/v1/jobs/claim", claim)
    assert (asked.status, asked.json()["_tag"], asked.headers["Retry-After"]) == (429, "QueueFullError", "1")
    assert (await strict.get("/v1/stats"))["total"] == 0
    for task in waiting:
        task.cancel()


async def test_a_caller_that_goes_away_gives_its_place_back(strict: Caller) -> None:
    body = b'{"workerId": "w", "waitMs": 20000}'
    _, writer = await strict.connection()
    writer.write(
        b"POST /v1/jobs/claim HTTP/1.1\r\n" + HOST_LINE + JSON_LINE + b"Content-Length: %d\r\n\r\n" % len(body)
    )
    writer.write(body)
    while strict.gateway.calls.waiting == 0:
        await asyncio.sleep(0)
    writer.close()
    async with asyncio.timeout(5):
        while strict.gateway.calls.waiting:
            await asyncio.sleep(0)
    job = await strict.post("/v1/jobs", GOOD)
    listed = await strict.get("/v1/jobs")
    assert [(found["id"], found["status"]) for found in listed["jobs"]] == [(job["jobId"], "unclaimed")]


async def test_pipelined_requests_are_answered_in_order(caller: Caller) -> None:
    reader, writer = await caller.connection()
    submit = POST + HOST_LINE + JSON_LINE + LENGTH + b"\r\n" + GOOD
    writer.write(submit * 3 + b"GET /nowhere HTTP/1.1\r\n" + HOST_LINE + b"\r\n" + submit)
    statuses = []
    for _ in range(5):
        head = await reader.readuntil(b"\r\n\r\n")
        statuses.append(int(head.split()[1]))
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    assert statuses == [200, 200, 200, 404, 200]
    writer.close()
