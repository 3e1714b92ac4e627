"""What the S3 store makes of each answer, and of none: never more than is certain."""

import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from xml.sax.saxutils import escape

import boto3
import pytest

from osqueue_service.errors import (
    ConfigError,
    StoreDenied,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    StoreUnknown,
)
from osqueue_service.ids import SystemIds
from osqueue_service.storage import s3, timeouts
from osqueue_service.storage.s3 import S3Store
from osqueue_service.storage.selftest import prove_conditions
from tests.unit.storage.manual_clock import ImpatientClock
from tests.unit.storage.scripted_server import Answer, ScriptedServer, Seen, scripted_server


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "osqueue")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "osqueue-secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as running:
        yield running


@pytest.fixture
def clock() -> ImpatientClock:
    return ImpatientClock()


@pytest.fixture(scope="module")
def aws_session() -> Any:
    return boto3.session.Session()


@pytest.fixture
async def store(server: ScriptedServer, clock: ImpatientClock, aws_session: Any) -> AsyncIterator[S3Store]:
    store = S3Store("bucket", clock=clock, prefix="pre-fix", endpoint_url=server.endpoint, session=aws_session)
    yield store
    await store.close()


def error(status: int, code: str, **headers: str) -> Answer:
    body = f"<Error><Code>{escape(code)}</Code><Message>so it is</Message></Error>".encode()
    return Answer(status, body, {"Content-Type": "application/xml", **headers})


def written(etag: str = '"v1"') -> Answer:
    return Answer(200, b"", {"ETag": etag})


def listed(*keys: str, token: str = "") -> Answer:
    contents = "".join(f"<Contents><Key>{escape(key)}</Key><ETag>&quot;x&quot;</ETag></Contents>" for key in keys)
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return Answer(200, f"<ListBucketResult>{contents}{more}</ListBucketResult>".encode())


# --- requests as they leave ---


async def test_a_create_is_one_request_with_its_condition_and_no_checksum(
    store: S3Store, server: ScriptedServer
) -> None:
    server.answer(written('"abc"'))
    assert await store.put_if_absent("log/1/1", b"body") == '"abc"'
    (request,) = server.seen
    assert (request.method, request.path, request.body) == ("PUT", "/bucket/pre-fixlog/1/1", b"body")
    assert request.headers["If-None-Match"] == "*"
    assert "If-Match" not in request.headers
    assert not [name for name in request.headers if "checksum" in name.lower()]


async def test_a_replace_names_the_version(store: S3Store, server: ScriptedServer) -> None:
    server.answer(written('"new"'))
    assert await store.put_if_version("root", b"body", '"old"') == '"new"'
    (request,) = server.seen
    assert request.headers["If-Match"] == '"old"'
    assert "If-None-Match" not in request.headers


async def test_a_read_takes_body_and_version_from_one_answer(store: S3Store, server: ScriptedServer) -> None:
    server.answer(Answer(200, b"body", {"ETag": '"abc"'}))
    assert await store.read("root") == (b"body", '"abc"')
    assert len(server.seen) == 1


# --- what puts become ---

PUT_OUTCOMES = [
    (error(412, "PreconditionFailed"), StoreRefused),
    (error(500, "InternalError"), StoreUnknown),
    (error(502, "BadGateway"), StoreUnknown),
    (error(503, "SlowDown"), StoreUnknown),
    (error(504, "GatewayTimeout"), StoreUnknown),
    (Answer(500, b"<html>not xml"), StoreUnknown),
    (error(408, "RequestTimeout"), StoreUnknown),
    (error(400, "RequestTimeout"), StoreUnknown),
    (error(404, "NoSuchBucket"), StoreDenied),
    (error(400, "ExpiredToken"), StoreDenied),
    (error(401, "Unauthorized"), StoreDenied),
    (error(403, "AccessDenied"), StoreDenied),
    (error(405, "MethodNotAllowed"), StoreDenied),
    (error(413, "EntityTooLarge"), StoreDenied),
    (error(501, "NotImplemented"), StoreDenied),
    (error(429, "TooManyRequests"), StoreUnavailable),
    (Answer(reset=True), StoreUnknown),
    (Answer(200, b"", {}), StoreUnknown),
]


@pytest.mark.parametrize(("answer", "expected"), PUT_OUTCOMES)
async def test_a_put_is_sent_once_and_says_no_more_than_is_certain(
    store: S3Store, server: ScriptedServer, answer: Answer, expected: type[StoreError]
) -> None:
    server.answer(answer)
    with pytest.raises(StoreError) as raised:
        await store.put_if_absent("log/1/1", b"body")
    assert type(raised.value) is expected
    assert "log/1/1" in str(raised.value)
    assert len(server.seen) == 1


@pytest.mark.parametrize(("answer", "expected"), [*PUT_OUTCOMES, (error(404, "NoSuchKey"), StoreRefused)])
async def test_a_swap_is_sent_once_and_says_no_more_than_is_certain(
    store: S3Store, server: ScriptedServer, answer: Answer, expected: type[StoreError]
) -> None:
    server.answer(written(), answer)
    await store.put_if_version("root", b"body", '"old"')
    with pytest.raises(StoreError) as raised:
        await store.put_if_version("root", b"body", '"v1"')
    assert type(raised.value) is expected
    assert [request.method for request in server.seen] == ["PUT", "PUT"]


async def test_a_put_that_finds_nothing_is_unknown_unless_the_bucket_is_missing(
    store: S3Store, server: ScriptedServer
) -> None:
    server.answer(Answer(404, b""))
    with pytest.raises(StoreUnknown):
        await store.put_if_absent("log/1/1", b"body")
    with pytest.raises(StoreUnknown):
        await store.put_if_version("root", b"body", '"v1"')


async def test_silence_is_unknown_after_the_timeout_for_that_size(
    server: ScriptedServer, aws_session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "PUT_SECONDS", ((10, 0.1), (1_000, 0.2)))
    store = S3Store("bucket", clock=ImpatientClock(), endpoint_url=server.endpoint, session=aws_session)
    server.answer(Answer(silent=True))
    for body in (b"small", b"larger" * 100, b"above the last step" * 100):
        with pytest.raises(StoreUnknown):
            await store.put_if_absent("log/1/1", body)
    assert len(server.seen) == 3
    await store.close()


@pytest.mark.parametrize("call", ["put_if_absent", "put_if_version", "delete", "read"])
async def test_a_refused_connection_certainly_changed_nothing(
    aws_session: Any, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "READ_ATTEMPTS", 1)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        store = S3Store(
            "bucket",
            clock=ImpatientClock(),
            endpoint_url=f"http://127.0.0.1:{unused.getsockname()[1]}",
            session=aws_session,
        )
        arguments: dict[str, tuple[Any, ...]] = {"put_if_absent": (b"x",), "put_if_version": (b"x", '"v1"')}
        with pytest.raises(StoreUnavailable):
            await getattr(store, call)("key", *arguments.get(call, ()))
        await store.close()


async def test_being_told_when_to_come_back_is_passed_on(store: S3Store, server: ScriptedServer) -> None:
    server.answer(error(429, "TooManyRequests", **{"Retry-After": "7"}))
    with pytest.raises(StoreUnavailable) as raised:
        await store.put_if_absent("log/1/1", b"body")
    assert raised.value.retry_after_ms == 7_000
    server.answer(error(429, "TooManyRequests", **{"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}))
    with pytest.raises(StoreUnavailable) as raised:
        await store.put_if_absent("log/1/1", b"body")
    assert raised.value.retry_after_ms is None


# --- conflicts ---


async def test_a_conflict_decides_nothing_and_the_same_put_is_sent_again(
    store: S3Store, server: ScriptedServer, clock: ImpatientClock
) -> None:
    conflict = error(409, "ConditionalRequestConflict")
    server.answer(conflict, conflict, written())
    assert await store.put_if_absent("log/1/1", b"body") == '"v1"'
    assert [request.body for request in server.seen] == [b"body"] * 3
    assert clock.slept_ms == [20, 40]
    server.answer(conflict, error(412, "PreconditionFailed"))
    with pytest.raises(StoreRefused):
        await store.put_if_absent("log/1/1", b"body")


async def test_conflicts_without_end_are_unknown(store: S3Store, server: ScriptedServer) -> None:
    server.answer(error(409, "ConditionalRequestConflict"))
    with pytest.raises(StoreUnknown, match="conflicts"):
        await store.put_if_absent("log/1/1", b"body")
    assert len(server.seen) == s3.CONFLICT_TRIES


async def test_a_conflict_of_a_swap_is_unknown_because_the_version_may_have_moved(
    store: S3Store, server: ScriptedServer
) -> None:
    server.answer(error(409, "ConditionalRequestConflict"))
    with pytest.raises(StoreUnknown):
        await store.put_if_version("root", b"body", '"v1"')
    assert len(server.seen) == 1


# --- reads ---


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(404, "NoSuchBucket"), StoreDenied),
        (Answer(404, b""), StoreUnknown),
        (error(403, "AccessDenied"), StoreDenied),
        (error(400, "ExpiredToken"), StoreDenied),
        (error(501, "NotImplemented"), StoreUnknown),
        (error(503, "SlowDown", **{"Retry-After": "3"}), StoreUnavailable),
        (error(429, "TooManyRequests"), StoreUnavailable),
        (error(500, "InternalError"), StoreUnknown),
        (Answer(200, b"hal", {"ETag": '"x"'}, claimed_length=6), StoreUnknown),
        (Answer(reset=True), StoreUnknown),
    ],
)
async def test_a_failed_read_is_never_absence(
    server: ScriptedServer,
    aws_session: Any,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    expected: type[StoreError],
) -> None:
    monkeypatch.setattr(s3, "READ_ATTEMPTS", 1)
    store = S3Store("bucket", clock=ImpatientClock(), endpoint_url=server.endpoint, session=aws_session)
    server.answer(answer)
    with pytest.raises(StoreError) as raised:
        await store.read("root")
    assert type(raised.value) is expected
    await store.close()


@pytest.mark.parametrize("call", ["read", "put_if_absent", "put_if_version", "list_after", "delete"])
@pytest.mark.parametrize("status", [404, 500])
@pytest.mark.parametrize("stalls", [False, True])
async def test_an_error_whose_body_breaks_off_or_stalls_is_an_unknown_outcome(
    server: ScriptedServer, aws_session: Any, monkeypatch: pytest.MonkeyPatch, call: str, status: int, stalls: bool
) -> None:
    """The SDK reads the body of an error where it guards against nothing: what comes out is urllib3's own."""
    monkeypatch.setattr(s3, "READ_ATTEMPTS", 1)
    monkeypatch.setattr(s3, "READ_SECONDS", 0.2)
    monkeypatch.setattr(s3, "put_seconds", lambda size: 0.2)
    store = S3Store("bucket", clock=ImpatientClock(), endpoint_url=server.endpoint, session=aws_session)
    server.answer(Answer(status, b"<Error><Code>NoSuch", claimed_length=500, stalls=stalls))
    calls = {
        "read": lambda: store.read("root"),
        "put_if_absent": lambda: store.put_if_absent("root", b""),
        "put_if_version": lambda: store.put_if_version("root", b"", '"1"'),
        "list_after": lambda: store.list_after("log/", "", 1),
        "delete": lambda: store.delete("root"),
    }
    if (call, status, stalls) == ("delete", 404, False):
        await calls[call]()  # whatever the rest would have said: what is not there is deleted
    else:
        with pytest.raises(StoreUnknown):
            await calls[call]()
    await store.close()


async def test_only_a_missing_key_is_absence(store: S3Store, server: ScriptedServer) -> None:
    server.answer(error(404, "NoSuchKey"))
    assert await store.read("root") is None


async def test_reads_and_deletes_are_tried_again(
    store: S3Store, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    server.answer(error(500, "InternalError"), Answer(reset=True), Answer(200, b"body", {"ETag": '"x"'}))
    assert await store.read("root") == (b"body", '"x"')
    server.answer(error(500, "InternalError"), error(503, "SlowDown"), Answer(204))
    await store.delete("root")
    server.answer(error(404, "NoSuchKey"))
    await store.delete("root")
    server.answer(error(404, "NoSuchBucket"))
    with pytest.raises(StoreDenied):
        await store.delete("root")


# --- listing ---


async def test_lists_page_after_page_until_the_limit(store: S3Store, server: ScriptedServer) -> None:
    server.answer(
        listed("pre-fixlog/1", "pre-fixlog/2", token="t"), listed("pre-fixlog/3", token="t"), listed("pre-fixlog/4")
    )
    assert await store.list_after("log/", "log/0", 3) == ["log/1", "log/2", "log/3"]
    first, second = server.seen
    assert (first.query["prefix"], first.query["start-after"], first.query["max-keys"]) == (
        "pre-fixlog/",
        "pre-fixlog/0",
        "3",
    )
    assert (second.query["start-after"], second.query["max-keys"]) == ("pre-fixlog/2", "1")


async def test_an_unordered_bucket_is_listed_whole_and_sorted_here(server: ScriptedServer, aws_session: Any) -> None:
    store = S3Store(
        "bucket--use1-az4--x-s3",
        clock=ImpatientClock(),
        prefix="q/",
        region="us-east-1",
        session=aws_session,
    )
    pages = iter([(["log/10", "log/03"], "more"), (["log/02", "logs/1", "log/01"], "")])
    asked: list[dict[str, Any]] = []

    def list_objects_v2(**options: Any) -> dict[str, Any]:
        asked.append(options)
        keys, token = next(pages)
        answer: dict[str, Any] = {"Contents": [{"Key": f"q/{key}"} for key in keys], "IsTruncated": bool(token)}
        return answer | ({"NextContinuationToken": token} if token else {})

    store._clients.reader.list_objects_v2 = list_objects_v2
    assert await store.list_after("log/0", "log/01", 10) == ["log/02", "log/03"]
    assert [options["Prefix"] for options in asked] == ["q/log/", "q/log/"]
    assert "StartAfter" not in asked[0]
    assert asked[1]["ContinuationToken"] == "more"
    await store.close()


# --- Ceph ---


class CephBucket:
    """One object, whose If-Match must come without quotes."""

    def __init__(self) -> None:
        self.etag = "e0"

    def __call__(self, seen: Seen) -> Answer:
        if seen.method == "HEAD":
            return Answer(200, b"", {"ETag": f'"{self.etag}"'})
        if seen.headers["If-Match"] != self.etag:
            return error(412, "PreconditionFailed")
        self.etag = f"e{int(self.etag[1:]) + 1}"
        return written(f'"{self.etag}"')


async def test_if_match_is_sent_without_quotes_where_only_that_is_understood(
    store: S3Store, server: ScriptedServer
) -> None:
    server.answer(CephBucket())
    first = await store.put_if_version("root", b"1", '"e0"')
    assert first == '"e1"'
    assert [request.method for request in server.seen] == ["PUT", "HEAD", "PUT"]
    second = await store.put_if_version("root", b"2", first)
    assert second == '"e2"'
    with pytest.raises(StoreRefused):
        await store.put_if_version("root", b"3", first)
    assert [request.method for request in server.seen[3:]] == ["PUT", "PUT"]


async def test_a_refused_first_swap_stays_refused_where_the_version_differs(
    store: S3Store, server: ScriptedServer
) -> None:
    server.answer(CephBucket())
    with pytest.raises(StoreRefused):
        await store.put_if_version("root", b"1", '"other"')
    server.answer(error(412, "PreconditionFailed"), Answer(404))
    with pytest.raises(StoreRefused):
        await store.put_if_version("root", b"1", '"other"')


# --- settings ---


def test_an_endpoint_that_is_no_url_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="S3_ENDPOINT_URL"):
        S3Store("bucket", clock=ImpatientClock(), endpoint_url="not a url")


async def test_missing_credentials_and_impossible_names_stop_the_self_test(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, aws_session: Any
) -> None:
    server.answer(written())
    impossible = S3Store("no bucket!", clock=ImpatientClock(), endpoint_url=server.endpoint, session=aws_session)
    with pytest.raises(ConfigError, match="no bucket!"):
        await prove_conditions(impossible, ImpatientClock(), SystemIds())
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    anonymous = S3Store("bucket", clock=ImpatientClock(), endpoint_url=server.endpoint)
    with pytest.raises(ConfigError, match="credentials"):
        await prove_conditions(anonymous, ImpatientClock(), SystemIds())
    assert server.seen == []


# --- the store's time ---


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"x", {"ETag": '"v1"', "Date": "Mon, 30 Nov 2026 12:00:00 GMT"}),
        error(404, "NoSuchKey", Date="Mon, 30 Nov 2026 12:00:00 GMT"),
        error(403, "RequestTimeTooSkewed", Date="Mon, 30 Nov 2026 12:00:00 GMT"),
    ],
    ids=["an object", "none", "refused for our own clock"],
)
async def test_every_answer_tells_the_stores_time(store: S3Store, server: ScriptedServer, answer: Answer) -> None:
    assert store.store_time_ms() is None
    server.answer(answer)
    with suppress(StoreDenied):
        await store.read("a")
    assert store.store_time_ms() == 1_796_040_000_000


async def test_the_answer_to_a_put_tells_it_too(store: S3Store, server: ScriptedServer) -> None:
    server.answer(Answer(200, b"", {"ETag": '"v1"', "Date": "Mon, 30 Nov 2026 12:00:00 GMT"}))
    await store.put_if_absent("a", b"x")
    assert store.store_time_ms() == 1_796_040_000_000
