"""Objects in a bucket of S3, or of what speaks its language: MinIO, R2, Tigris, Ceph, SeaweedFS.

The only module that imports boto3; importing it without boto3 installed fails.

A version is the object's ETag, on most stores a digest of the content: whoever swaps an
object puts a nonce in every body. Conditional puts are sent once; a retry that met its own
first try would be reported as refused. Reads and deletes are retried by the SDK.
"""

import heapq
import threading
from collections.abc import Sequence
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    SSLError,
    TokenRetrievalError,
)
from urllib3.exceptions import HTTPError

from osqueue_service.clock import Clock
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

READ_ATTEMPTS = 4

CONFLICT_TRIES = 6
CONFLICT_PAUSE_MS = 20
"""Answer 409 decides nothing: the same put is sent again, after pauses that double."""

_LIST_PAGE = 1_000

# Clients may be used from many threads; the session that makes them may not.
_MAKING_CLIENTS = threading.Lock()

# Where credentials are fetched from may be away for a moment, too.
_NOT_SENT = (EndpointConnectionError, ConnectTimeoutError, CredentialRetrievalError, TokenRetrievalError)
# The body of an answer may break off or stall where the SDK does not look for it: in an error's, above all.
_UNANSWERED = (BotoCoreError, HTTPError, OSError)
_NEVER_SENT = (NoCredentialsError, PartialCredentialsError, ParamValidationError)


class S3Store(TimedStore):
    """An `ObjectStore` in an S3 bucket; the object of a key is named `prefix + key`.

    `depth` is how many creates run at once. `endpoint_url` is for stores that are not AWS.
    Credentials come from `session` (a `boto3.session.Session`), or else from where the AWS SDK finds them.
    """

    def __init__(
        self,
        bucket: str,
        *,
        clock: Clock,
        prefix: str = "",
        region: str | None = None,
        endpoint_url: str | None = None,
        depth: int = 4,
        session: Any = None,
    ) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._clock = clock
        self._threads = StoreThreads("s3", depth)
        self._time = StoreTime(clock)
        self.description = f"s3://{bucket}/{prefix}" + (f" at {endpoint_url}" if endpoint_url else "")
        options = {"endpoint_url": endpoint_url, "region_name": region or ("us-east-1" if endpoint_url else None)}
        try:
            self._clients = _Clients(session or boto3.session.Session(), options, self._threads.count, self._time)
        except (BotoCoreError, ValueError) as error:
            raise ConfigError(f"{self.description}: {error}; check S3_BUCKET, S3_REGION and S3_ENDPOINT_URL") from error
        # S3 Express (directory buckets) lists in no order, after no key, and only whole folders.
        self._lists_unordered = bucket.endswith("--x-s3")
        # Ceph before 17 compares the quotes of If-Match too. None until a swap succeeded in one form.
        self._quotes_if_match: bool | None = None

    def store_time_ms(self) -> int | None:
        return self._time.now_ms()

    async def read(self, key: str) -> StoredObject | None:
        check_key(key)
        return await self._threads.run(self._read, key)

    async def put_if_absent(self, key: str, body: bytes) -> str:
        check_key(key)
        for conflicts in range(CONFLICT_TRIES):
            version = await self._threads.put(len(body), self._put, key, body, {"IfNoneMatch": "*"})
            if version is not None:
                return version
            await self._clock.sleep_ms(CONFLICT_PAUSE_MS << conflicts)
        raise StoreUnknown(f"{key}: {CONFLICT_TRIES} conflicts (409) in a row")

    async def put_if_version(self, key: str, body: bytes, version: str) -> str:
        check_key(key)
        return await self._threads.swap(self._replace, key, body, version)

    async def list_after(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        check_prefix(prefix)
        if self._lists_unordered:
            return await self._threads.run(self._list_unordered, prefix, after, limit)
        return await self._threads.run(self._list, prefix, after, limit)

    async def delete(self, key: str) -> None:
        check_key(key)
        await self._threads.run(self._delete, key)

    async def close(self) -> None:
        await self._threads.close(drain=False)

    def _read(self, key: str) -> StoredObject | None:
        try:
            response = self._clients.reader.get_object(Bucket=self._bucket, Key=self._prefix + key)
            body: bytes = response["Body"].read()
        except ClientError as error:
            if _status(error) == 404 and _code(error) == "NoSuchKey":
                return None
            raise _failed_read(key, error) from error
        except _UNANSWERED as error:
            raise _unanswered(key, error) from error
        length = response.get("ContentLength")
        if length is not None and length != len(body):
            raise StoreUnknown(f"{key}: {len(body)} of {length} bytes arrived")
        return StoredObject(body, response["ETag"])

    def _put(self, key: str, body: bytes, condition: dict[str, str]) -> str | None:
        """The new version, or None after a 409, which says neither that the condition holds nor that it does not."""
        client = self._clients.writer(len(body))
        try:
            response = client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=body, **condition)
        except ClientError as error:
            if _status(error) == 409:
                return None
            raise _failed_put(key, error, replacing="IfMatch" in condition) from error
        except _UNANSWERED as error:
            raise _unanswered(key, error) from error
        version = response.get("ETag")
        if not version:
            raise StoreUnknown(f"{key}: was written, but the answer names no version (ETag)")
        return str(version)

    def _replace(self, key: str, body: bytes, version: str) -> str:
        quotes = self._quotes_if_match is not False
        try:
            new_version = self._swap(key, body, version if quotes else version.strip('"'))
        except StoreRefused:
            # With a quoted version that the object still has, the refusal is about the quotes: Ceph.
            # The second put has the same condition, so it is as safe as the first.
            if self._quotes_if_match is not None or not self._has_version(key, version):
                raise
            quotes = False
            new_version = self._swap(key, body, version.strip('"'))
        self._quotes_if_match = quotes
        return new_version

    def _swap(self, key: str, body: bytes, if_match: str) -> str:
        version = self._put(key, body, {"IfMatch": if_match})
        if version is None:
            # What it conflicted with may have changed the version, so the caller must read before another try.
            raise StoreUnknown(f"{key}: conflict (409)")
        return version

    def _has_version(self, key: str, version: str) -> bool:
        try:
            return bool(
                self._clients.reader.head_object(Bucket=self._bucket, Key=self._prefix + key)["ETag"] == version
            )
        except (ClientError, *_UNANSWERED):
            # The refusal stands, and says no more than it did.
            return False

    def _list(self, prefix: str, after: str, limit: int) -> list[str]:
        keys: list[str] = []
        while len(keys) < limit:
            last = keys[-1] if keys else after
            page, more = self._list_page(prefix, limit - len(keys), StartAfter=self._prefix + last if last else "")
            keys += page
            if not more or not page:
                break
        return keys

    def _list_unordered(self, prefix: str, after: str, limit: int) -> list[str]:
        folder = prefix[: prefix.rfind("/") + 1]
        keys: list[str] = []
        options: dict[str, str] = {}
        while True:
            page, more = self._list_page(folder, _LIST_PAGE, **options)
            keys += (key for key in page if key > after and key.startswith(prefix))
            if not more:
                return heapq.nsmallest(limit, keys)
            options = {"ContinuationToken": more}

    def _list_page(self, prefix: str, limit: int, **options: str) -> tuple[list[str], str]:
        """One page of keys, and the token for the next one (`""` when there is none)."""
        options = {name: value for name, value in options.items() if value}
        try:
            response = self._clients.reader.list_objects_v2(
                Bucket=self._bucket, Prefix=self._prefix + prefix, MaxKeys=min(limit, _LIST_PAGE), **options
            )
        except ClientError as error:
            raise _failed_read(prefix, error) from error
        except _UNANSWERED as error:
            raise _unanswered(prefix, error) from error
        keys = [entry["Key"].removeprefix(self._prefix) for entry in response.get("Contents", ())]
        return keys, response.get("NextContinuationToken", "") if response.get("IsTruncated") else ""

    def _delete(self, key: str) -> None:
        try:
            self._clients.reader.delete_object(Bucket=self._bucket, Key=self._prefix + key)
        except ClientError as error:
            if _status(error) != 404 or _code(error) == "NoSuchBucket":
                raise _failed_read(key, error) from error
        except _UNANSWERED as error:
            raise _unanswered(key, error) from error


class _Clients:
    """One client for reads and deletes, which retries, and one for puts of each size, which do not."""

    def __init__(self, session: Any, options: dict[str, str | None], connections: int, time: StoreTime) -> None:
        self._session = session
        self._options = options
        self._connections = connections
        self._time = time
        self._writers: dict[int, Any] = {}
        with _MAKING_CLIENTS:
            self.reader = self._create(READ_SECONDS, READ_ATTEMPTS)
        self.writer(0)

    def writer(self, size: int) -> Any:
        """The client whose timeouts fit a body of `size` bytes."""
        seconds = put_seconds(size)
        if seconds not in self._writers:
            with _MAKING_CLIENTS:
                self._writers[seconds] = self._create(seconds, attempts=1)
        return self._writers[seconds]

    def _create(self, seconds: int, attempts: int) -> Any:
        client = self._session.client(
            "s3",
            **self._options,
            config=Config(
                retries={"total_max_attempts": attempts, "mode": "standard"},
                connect_timeout=CONNECT_SECONDS,
                read_timeout=seconds,
                max_pool_connections=self._connections,
                tcp_keepalive=True,
                # Checksums that other stores than AWS do not know, and may refuse.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path" if self._options["endpoint_url"] else "auto"},
                user_agent_extra="osqueue",
            ),
        )
        # Of every answer, refusals included: a store that finds our clock wrong says what its own is.
        client.meta.events.register("after-call.s3", self._note_date)
        return client

    def _note_date(self, parsed: dict[str, Any], **_: Any) -> None:
        self._time.answered(parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date"))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _failed_put(key: str, error: ClientError, *, replacing: bool) -> StoreError:
    """What the answer to a put says. Only what is certain is called certain."""
    status, code = _status(error), _code(error)
    if status == 412 or (status == 404 and replacing and code == "NoSuchKey"):
        return StoreRefused(f"{key}: {error}")
    if status == 501:
        return StoreDenied(f"{key}: {error}; this store has no conditional puts")
    if status == 429:
        return StoreUnavailable(f"{key}: {error}", retry_after_ms=_retry_after_ms(error))
    if status >= 500 or (status in (404, 408) and code != "NoSuchBucket") or code == "RequestTimeout":
        return StoreUnknown(f"{key}: {error}")
    return StoreDenied(f"{key}: {error}")


def _failed_read(key: str, error: ClientError) -> StoreError:
    """What the answer to a request that may be repeated says."""
    status, code = _status(error), _code(error)
    if status in (429, 503):
        return StoreUnavailable(f"{key}: {error}", retry_after_ms=_retry_after_ms(error))
    if status == 403:
        return StoreDenied(f"{key}: {error}; without the permission to list, S3 says so of a missing object too")
    if status >= 500 or (status in (404, 408, 409) and code != "NoSuchBucket") or code == "RequestTimeout":
        return StoreUnknown(f"{key}: {error}")
    return StoreDenied(f"{key}: {error}")


def _unanswered(key: str, error: Exception) -> StoreError:
    """A request without an answer is unknown, unless it was certainly not sent."""
    if isinstance(error, _NOT_SENT):
        return StoreUnavailable(f"{key}: {error}")
    if isinstance(error, _NEVER_SENT) or _distrusts(error):
        return StoreDenied(f"{key}: {error}")
    return StoreUnknown(f"{key}: {error}")


def _distrusts(error: Exception) -> bool:
    """Whether the server's certificate was refused, which happens before anything is sent."""
    return isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error)


def _retry_after_ms(error: ClientError) -> int | None:
    value = str(error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after", ""))
    return int(value) * 1_000 if value.isascii() and value.isdigit() else None
