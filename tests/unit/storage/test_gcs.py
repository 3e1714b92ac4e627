"""What the GCS store makes of each answer, and of none: never more than is certain."""

import base64
import json
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import google_crc32c
import pytest
from google.auth.exceptions import DefaultCredentialsError, RefreshError
from google.cloud.storage.retry import DEFAULT_RETRY

from osqueue_service.errors import (
    ConfigError,
    StoreDenied,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    StoreUnknown,
)
from osqueue_service.storage import gcs, timeouts
from osqueue_service.storage.gcs import GcsStore
from tests.unit.storage.manual_clock import ManualClock
from tests.unit.storage.scripted_server import Answer, ScriptedServer, scripted_server


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as running:
        yield running


@pytest.fixture
async def store(server: ScriptedServer) -> AsyncIterator[GcsStore]:
    store = GcsStore("bucket", prefix="pre-fix", endpoint_url=server.endpoint)
    yield store
    await store.close()


def written(generation: str = "17") -> Answer:
    return Answer(
        200, json.dumps({"name": "x", "generation": generation}).encode(), {"Content-Type": "application/json"}
    )


def held(body: bytes, generation: str = "17") -> Answer:
    checksum = base64.b64encode(google_crc32c.value(body).to_bytes(4, "big")).decode()
    return Answer(200, body, {"X-Goog-Generation": generation, "X-Goog-Hash": f"crc32c={checksum}"})


def error(status: int, message: str = "so it is", **headers: str) -> Answer:
    body = {"error": {"code": status, "message": message}}
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})


def listed(*names: str, token: str = "") -> Answer:
    body: dict[str, Any] = {"items": [{"name": name} for name in names]}
    return Answer(200, json.dumps(body | ({"nextPageToken": token} if token else {})).encode())


async def test_a_create_is_one_request_with_its_condition(store: GcsStore, server: ScriptedServer) -> None:
    server.answer(written("17"))
    assert await store.put_if_absent("log/1/1", b"the body") == "17"
    (request,) = server.seen
    assert (request.method, request.path) == ("POST", "/upload/storage/v1/b/bucket/o")
    assert request.query["ifGenerationMatch"] == "0"
    assert b"the body" in request.body
    assert b'"pre-fixlog/1/1"' in request.body


async def test_a_replace_names_the_generation(store: GcsStore, server: ScriptedServer) -> None:
    server.answer(written("18"))
    assert await store.put_if_version("root", b"body", "17") == "18"
    assert server.seen[0].query["ifGenerationMatch"] == "17"


@pytest.mark.parametrize("version", ["", "0", "-1", "abc", '"17"', "1.5"])
async def test_what_is_no_generation_is_refused_without_asking(
    store: GcsStore, server: ScriptedServer, version: str
) -> None:
    with pytest.raises(StoreRefused):
        await store.put_if_version("root", b"body", version)
    assert server.seen == []


async def test_a_read_takes_body_and_version_from_one_answer(store: GcsStore, server: ScriptedServer) -> None:
    server.answer(held(b"body", "17"))
    assert await store.read("root") == (b"body", "17")
    assert len(server.seen) == 1


@pytest.mark.parametrize("call", ["put_if_absent", "put_if_version"])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(412), StoreRefused),
        (error(500), StoreUnknown),
        (error(502), StoreUnknown),
        (error(503), StoreUnknown),
        (error(504), StoreUnknown),
        (error(408), StoreUnknown),
        (error(409), StoreUnknown),
        (Answer(500, b"<html>not json"), StoreUnknown),
        (error(400), StoreDenied),
        (error(401), StoreDenied),
        (error(403), StoreDenied),
        (error(404, "The specified bucket does not exist."), StoreDenied),
        (error(404, "No such upload session"), StoreUnknown),
        (error(410, "Gone"), StoreUnknown),
        (error(429), StoreUnavailable),
        (Answer(reset=True), StoreUnknown),
        (Answer(200, b'{"name": "x"}', {"Content-Type": "application/json"}), StoreUnknown),
        (Answer(200, b'{"name": "x", "gener', {"Content-Type": "application/json"}), StoreUnknown),
    ],
)
async def test_a_put_is_sent_once_and_says_no_more_than_is_certain(
    store: GcsStore, server: ScriptedServer, call: str, answer: Answer, expected: type[StoreError]
) -> None:
    server.answer(answer)
    with pytest.raises(StoreError) as raised:
        await getattr(store, call)("log/1/1", b"body", *(["17"] if call == "put_if_version" else []))
    assert type(raised.value) is expected
    assert "log/1/1" in str(raised.value)
    assert len(server.seen) == 1


async def test_a_large_put_is_not_retried_and_never_deletes(store: GcsStore, server: ScriptedServer) -> None:
    body = b"x" * (gcs.SINGLE_UPLOAD_BYTES + 1)
    session = Answer(200, b"", {"Location": f"{server.endpoint}/session"})
    for answer, expected in (
        (error(412), StoreRefused),
        (error(503), StoreUnknown),
        (Answer(reset=True), StoreUnknown),
    ):
        server.seen.clear()
        server.answer(session, answer)
        with pytest.raises(expected):
            await store.put_if_absent("checkpoints/1", body)
        assert [request.method for request in server.seen] == ["POST", "PUT"]
        assert server.seen[0].query["ifGenerationMatch"] == "0"
    server.answer(session, written("19"))
    assert await store.put_if_absent("checkpoints/1", body) == "19"


async def test_silence_is_unknown(store: GcsStore, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "PUT_SECONDS", ((1 << 20, 0.1),))
    server.answer(Answer(silent=True))
    with pytest.raises(StoreUnknown):
        await store.put_if_absent("log/1/1", b"body")
    assert len(server.seen) == 1


async def test_a_refused_connection_certainly_changed_nothing() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        store = GcsStore("bucket", endpoint_url=f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(StoreUnavailable):
            await store.put_if_absent("key", b"body")
        with pytest.raises(StoreUnavailable):
            await store.read("key")
        await store.close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(404, "The specified bucket does not exist."), StoreDenied),
        (error(403), StoreDenied),
        (error(401), StoreDenied),
        (error(500), StoreUnknown),
        (error(503, **{"Retry-After": "3"}), StoreUnavailable),
        (error(429), StoreUnavailable),
        (Answer(200, b"hal", {"X-Goog-Generation": "17"}, claimed_length=6), StoreUnknown),
        (held(b"body")._replace(body=b"b0dy"), StoreUnknown),
        (Answer(200, b"body"), StoreUnknown),
        (Answer(reset=True), StoreUnknown),
    ],
)
async def test_a_failed_read_is_asked_once_and_never_absence(
    store: GcsStore, server: ScriptedServer, answer: Answer, expected: type[StoreError]
) -> None:
    server.answer(answer)
    with pytest.raises(StoreError) as raised:
        await store.read("root")
    assert type(raised.value) is expected
    assert len(server.seen) == 1
    if isinstance(raised.value, StoreUnavailable) and answer.status == 503:
        assert raised.value.retry_after_ms == 3_000


async def test_only_a_missing_object_is_absence(store: GcsStore, server: ScriptedServer) -> None:
    server.answer(Answer(404, b"No such object: bucket/pre-fixroot"))
    assert await store.read("root") is None


async def test_listings_and_deletes_are_tried_again(
    store: GcsStore, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcs, "DEFAULT_RETRY", DEFAULT_RETRY.with_delay(0.001, 0.001))
    server.answer(error(503), Answer(reset=True), Answer(204))
    await store.delete("root")
    assert len(server.seen) == 3
    server.answer(error(404, "No such object"))
    await store.delete("root")
    server.answer(error(404, "The specified bucket does not exist."))
    with pytest.raises(StoreDenied):
        await store.delete("root")
    server.answer(error(500), listed("pre-fixlog/1"))
    assert await store.list_after("log/", "", 10) == ["log/1"]


async def test_lists_page_after_page_without_the_key_it_begins_after(store: GcsStore, server: ScriptedServer) -> None:
    server.answer(listed("pre-fixlog/0", "pre-fixlog/1", token="t"), listed("pre-fixlog/2", "pre-fixlog/3"))
    assert await store.list_after("log/", "log/0", 3) == ["log/1", "log/2", "log/3"]
    assert server.seen[0].query["startOffset"] == "pre-fixlog/0"
    assert server.seen[1].query["pageToken"] == "t"


@pytest.mark.parametrize(("retryable", "expected"), [(True, StoreUnavailable), (False, StoreDenied)])
async def test_without_a_token_nothing_was_sent(
    store: GcsStore,
    server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    retryable: bool,
    expected: type[StoreError],
) -> None:
    def no_token(*_: object, **__: object) -> None:
        raise RefreshError("no token", retryable=retryable)  # type: ignore[no-untyped-call]

    monkeypatch.setattr("google.auth.credentials.AnonymousCredentials.before_request", no_token)
    with pytest.raises(expected):
        await store.put_if_absent("log/1/1", b"body")
    assert server.seen == []


def test_missing_credentials_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(**_: object) -> None:
        raise DefaultCredentialsError("Your default credentials were not found.")  # type: ignore[no-untyped-call]

    monkeypatch.setattr("google.auth.default", none)
    with pytest.raises(ConfigError, match="gs://bucket/: Your default credentials were not found"):
        GcsStore("bucket")


@pytest.mark.parametrize("call", ["list_after", "delete"])
@pytest.mark.parametrize("answer", [error(503), Answer(silent=True), Answer(reset=True)])
async def test_retries_that_were_in_vain_are_an_unknown_outcome(
    store: GcsStore, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, call: str, answer: Answer
) -> None:
    """What the SDK raises then is not the last answer but an error of its own."""
    monkeypatch.setattr(gcs, "READ_SECONDS", 0.3)
    monkeypatch.setattr(gcs, "_READ_TIMEOUT", (1, 0.1))
    server.answer(answer)
    with pytest.raises(StoreError) as raised:
        await (store.delete("root") if call == "delete" else store.list_after("log/", "", 1))
    assert isinstance(raised.value, StoreUnknown)


# --- the store's time ---


@pytest.mark.parametrize("answer", [held(b"x"), error(404), error(403)], ids=["an object", "none", "refused"])
async def test_every_answer_tells_the_stores_time(server: ScriptedServer, answer: Answer) -> None:
    store = GcsStore("bucket", clock=ManualClock(), endpoint_url=server.endpoint)
    assert store.store_time_ms() is None
    server.answer(answer._replace(headers={**answer.headers, "Date": "Mon, 30 Nov 2026 12:00:00 GMT"}))
    with suppress(StoreDenied):
        await store.read("a")
    assert store.store_time_ms() == 1_796_040_000_000
    await store.close()
