"""Objects in a bucket of Google Cloud Storage.

The only module that imports google.cloud; importing it without google-cloud-storage installed fails.

A version is the object's generation, which changes with every write. Nothing that is
conditional and no read is retried by the SDK: a retried put that met its own first try would
be reported as refused, and a read put together from two answers could have two generations.
"""

import os
from collections.abc import Sequence
from typing import Any

import google.auth
from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError, NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.auth.transport.requests import AuthorizedSession
from google.cloud.storage import Client
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import ConnectTimeout
from urllib3.exceptions import HTTPError, NewConnectionError

from osqueue_service.clock import Clock, SystemClock
from osqueue_service.errors import (
    ConfigError,
    StoreDenied,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    StoreUnknown,
)
from osqueue_service.storage.keys import check_key, check_prefix
from osqueue_service.storage.store import StoredObject, TimedStore
from osqueue_service.storage.store_time import StoreTime
from osqueue_service.storage.threads import StoreThreads
from osqueue_service.storage.timeouts import CONNECT_SECONDS, READ_SECONDS, put_seconds

# Larger bodies are uploaded in several requests, and the SDK would answer a checksum that
# does not match by deleting the object, whoever wrote it: those are sent without a checksum.
SINGLE_UPLOAD_BYTES = 8 << 20

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_READ_TIMEOUT = (CONNECT_SECONDS, READ_SECONDS)
# A GoogleAPIError that is not an answer says that all retries failed; an HTTPError, that a body broke off.
_CALL_FAILED = (GoogleAPIError, GoogleAuthError, InvalidResponse, DataCorruption, HTTPError, OSError)


class GcsStore(TimedStore):
    """An `ObjectStore` in a GCS bucket; the object of a key is named `prefix + key`.

    `depth` is how many creates run at once. `endpoint_url` is for emulators: it also means that
    no credentials are sent. Otherwise they come from where the Google SDK finds them.
    """

    def __init__(
        self,
        bucket: str,
        *,
        clock: Clock | None = None,
        prefix: str = "",
        endpoint_url: str | None = None,
        depth: int = 4,
    ) -> None:
        self._prefix = prefix
        self._threads = StoreThreads("gcs", depth)
        self._time = StoreTime(clock or SystemClock())
        self.description = f"gs://{bucket}/{prefix}" + (f" at {endpoint_url}" if endpoint_url else "")
        try:
            self._client = _client(endpoint_url, self._threads.count, self._time)
            self._bucket: Any = self._client.bucket(bucket)
        except DefaultCredentialsError as error:
            raise ConfigError(f"{self.description}: {error}") from error
        except ValueError as error:
            raise ConfigError(f"{self.description}: {error}; check GCS_BUCKET") from error

    def store_time_ms(self) -> int | None:
        return self._time.now_ms()

    async def read(self, key: str) -> StoredObject | None:
        check_key(key)
        return await self._threads.run(self._read, key)

    async def put_if_absent(self, key: str, body: bytes) -> str:
        check_key(key)
        return await self._threads.put(len(body), self._put, key, body, 0)

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        check_key(key)
        # 0 would mean that the object must not exist.
        if not version.isdecimal() or int(version) == 0:
            raise StoreRefused(f"{key}: {version!r} is not a generation")
        return await self._threads.swap(self._put, key, body, int(version))

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        check_prefix(prefix)
        return await self._threads.run(self._list, prefix, after, limit)

    async def delete(self, key: str) -> None:
        check_key(key)
        await self._threads.run(self._delete, key)

    async def close(self) -> None:
        await self._threads.close(drain=False)

    def _read(self, key: str) -> StoredObject | None:
        blob = self._bucket.blob(self._prefix + key)
        try:
            body: bytes = blob.download_as_bytes(retry=None, timeout=_READ_TIMEOUT)
        except NotFound as error:
            if _names_the_bucket(error):
                raise StoreDenied(f"{key}: {error}") from error
            return None
        except _CALL_FAILED as error:
            raise _failed(key, error, reading=True) from error
        # The SDK takes it from the headers of the answer that brought the body.
        if not blob.generation:
            raise StoreUnknown(f"{key}: the answer names no generation")
        return StoredObject(body, str(blob.generation))

    def _put(self, key: str, body: bytes, generation: int) -> str:
        blob = self._bucket.blob(self._prefix + key)
        try:
            blob.upload_from_string(
                body,
                content_type="application/octet-stream",
                if_generation_match=generation,
                checksum="crc32c" if len(body) <= SINGLE_UPLOAD_BYTES else None,
                retry=None,
                timeout=(CONNECT_SECONDS, put_seconds(len(body))),
            )
        except PreconditionFailed as error:
            raise StoreRefused(f"{key}: {error}") from error
        except _CALL_FAILED as error:
            raise _failed(key, error, reading=False) from error
        if not blob.generation:
            raise StoreUnknown(f"{key}: was written, but the answer names no generation")
        return str(blob.generation)

    def _list(self, prefix: str, after: str, limit: int) -> list[str]:
        start = {"start_offset": self._prefix + after} if after else {}
        try:
            # One more than asked for, because the listing begins with the key `after` itself.
            blobs = self._client.list_blobs(
                self._bucket,
                prefix=self._prefix + prefix,
                max_results=limit + 1,
                fields="items(name),nextPageToken",
                retry=DEFAULT_RETRY.with_timeout(READ_SECONDS),
                timeout=_READ_TIMEOUT,
                **start,
            )
            keys = [blob.name.removeprefix(self._prefix) for blob in blobs]
        except _CALL_FAILED as error:
            raise _failed(prefix, error, reading=True) from error
        return [key for key in keys if key > after][:limit]

    def _delete(self, key: str) -> None:
        try:
            self._bucket.blob(self._prefix + key).delete(
                retry=DEFAULT_RETRY.with_timeout(READ_SECONDS), timeout=_READ_TIMEOUT
            )
        except NotFound as error:
            if _names_the_bucket(error):
                raise StoreDenied(f"{key}: {error}") from error
        except _CALL_FAILED as error:
            raise _failed(key, error, reading=False) from error


def _client(endpoint_url: str | None, connections: int, time: StoreTime) -> Any:
    credentials: Any
    if endpoint_url:
        credentials, options = AnonymousCredentials(), {"api_endpoint": endpoint_url}  # type: ignore[no-untyped-call]
    else:
        credentials, _ = google.auth.default(scopes=(_SCOPE,))
        options = {}
    # The SDK reads this switch from the environment only. Without it every client asks, behind our back, for a
    # description of the bucket: a permission that a broker does not need, and a request that nobody counts.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
    adapter = HTTPAdapter(pool_maxsize=connections)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.hooks["response"].append(lambda response, **_: time.answered(response.headers.get("Date")))
    # The SDK insists on a project, which only matters for creating buckets.
    return Client(project="none", credentials=credentials, _http=session, client_options=options)


def _failed(key: str, error: Exception, *, reading: bool) -> StoreError:
    """What a failed request says. Only what is certain is called certain."""
    if isinstance(error, GoogleAPICallError):
        return _answered(key, error, reading=reading)
    if isinstance(error, GoogleAuthError):
        # Without a token nothing was sent; whether one can be had later, the SDK says.
        passes = error.retryable or isinstance(error, TransportError)
        return StoreUnavailable(f"{key}: {error}") if passes else StoreDenied(f"{key}: {error}")
    return StoreUnavailable(f"{key}: {error}") if _was_not_sent(error) else StoreUnknown(f"{key}: {error}")


def _answered(key: str, error: GoogleAPICallError, *, reading: bool) -> StoreError:
    status = int(error.code or 0)
    if status == 429 or (reading and status == 503):
        return StoreUnavailable(f"{key}: {error}", retry_after_ms=_retry_after_ms(error))
    if _names_the_bucket(error):
        return StoreDenied(f"{key}: {error}")
    # 404 and 410 are about the session of a large upload, whose last part may have arrived.
    if status >= 500 or status in (0, 404, 408, 409, 410):
        return StoreUnknown(f"{key}: {error}")
    return StoreDenied(f"{key}: {error}")


def _was_not_sent(error: Exception) -> bool:
    if isinstance(error, ConnectTimeout):
        return True
    reason = (
        getattr(error.args[0], "reason", None) if isinstance(error, RequestsConnectionError) and error.args else None
    )
    return isinstance(reason, NewConnectionError)


def _names_the_bucket(error: GoogleAPICallError) -> bool:
    """Whether it is the bucket that is missing, not the object."""
    return "bucket does not exist" in str(error)


def _retry_after_ms(error: GoogleAPICallError) -> int | None:
    value = str(getattr(error.response, "headers", {}).get("Retry-After", ""))
    return int(value) * 1_000 if value.isascii() and value.isdigit() else None
