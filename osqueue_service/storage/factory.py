"""Stores built from settings: the backend, counted, and throttled where limits are set."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from osqueue_service.clock import Clock
from osqueue_service.errors import ConfigError
from osqueue_service.ids import IdSource
from osqueue_service.storage.file import FileStore
from osqueue_service.storage.instrumented import InstrumentedStore
from osqueue_service.storage.memory import MemoryStore
from osqueue_service.storage.store import ObjectStore
from osqueue_service.storage.throttled import Throttle, ThrottledStore, ThrottleLimits
from osqueue_service.storage.usage import PRICES, PriceTable, StoreUsage

BACKENDS = ("memory", "file", "s3", "gcs")
PREFIX_CHARACTERS_MAX = 400


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where the queue lives. `bucket`, `prefix`, `region` and `endpoint_url` are for s3 and gcs, `data_dir` for file.

    `prefix` is put before each key as it is: end it with a slash to get a folder. `pipeline_threads`
    is how many puts may be on their way at once.
    """

    backend: str
    bucket: str = ""
    region: str = ""
    prefix: str = ""
    endpoint_url: str = ""
    data_dir: Path | None = None
    pipeline_threads: int = 4
    limits: ThrottleLimits = field(default_factory=ThrottleLimits)
    prices: PriceTable = PRICES["none"]

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ConfigError(f"STORAGE_BACKEND: must be one of {', '.join(BACKENDS)}, not {self.backend!r}")
        if self.backend in ("s3", "gcs") and not self.bucket:
            raise ConfigError(
                f"{self.backend.upper()}_BUCKET: must name the bucket when STORAGE_BACKEND is {self.backend}"
            )
        if self.backend == "file" and self.data_dir is None:
            raise ConfigError("OSQUEUE_DATA_DIR: must name a directory when STORAGE_BACKEND is file")
        if len(self.prefix) > PREFIX_CHARACTERS_MAX or not self.prefix.isprintable() or self.prefix.startswith("/"):
            raise ConfigError(
                f"{self.backend.upper()}_PREFIX: must be at most {PREFIX_CHARACTERS_MAX} printable characters "
                "and not begin with a slash"
            )
        if self.endpoint_url and not self.endpoint_url.startswith(("http://", "https://")):
            raise ConfigError(f"S3_ENDPOINT_URL: must begin with http:// or https://, not {self.endpoint_url!r}")


class OpenedStore(NamedTuple):
    """A store and what is known about it.

    `throttle` is None where nothing is limited. `file` is there for the file backend: its
    `acquire_ownership` proves every earlier leader dead.
    """

    store: ObjectStore
    usage: StoreUsage
    throttle: Throttle | None
    file: FileStore | None


def open_store(settings: StoreSettings, clock: Clock, ids: IdSource, *, read_only: bool = False) -> OpenedStore:
    """Open the backend and what goes around it. `ConfigError` names the setting at fault, a missing extra included.

    `read_only` is for looking at a queue that a broker may be using: a data directory is then not touched.
    """
    backend = _open_backend(settings, clock, ids, read_only)
    instrumented = InstrumentedStore(backend, clock, StoreUsage(clock, settings.prices))
    file = backend if isinstance(backend, FileStore) else None
    if not settings.limits.any:
        return OpenedStore(instrumented, instrumented.usage, None, file)
    throttle = Throttle(settings.limits, clock)
    return OpenedStore(ThrottledStore(instrumented, throttle), instrumented.usage, throttle, file)


def _open_backend(settings: StoreSettings, clock: Clock, ids: IdSource, read_only: bool) -> ObjectStore:
    if settings.backend == "memory":
        return MemoryStore(clock=clock)
    if settings.backend == "file":
        assert settings.data_dir is not None
        threads = settings.pipeline_threads
        return FileStore.open(settings.data_dir, threads=threads, clock=clock, ids=ids, read_only=read_only)
    return _open_s3(settings, clock) if settings.backend == "s3" else _open_gcs(settings)


def _open_s3(settings: StoreSettings, clock: Clock) -> ObjectStore:
    try:
        from osqueue_service.storage.s3 import S3Store
    except ModuleNotFoundError as error:
        raise _missing("s3", error) from error
    return S3Store(
        settings.bucket,
        clock=clock,
        prefix=settings.prefix,
        region=settings.region or None,
        endpoint_url=settings.endpoint_url or None,
        depth=settings.pipeline_threads,
    )


def _open_gcs(settings: StoreSettings) -> ObjectStore:
    try:
        from osqueue_service.storage.gcs import GcsStore
    except ModuleNotFoundError as error:
        raise _missing("gcs", error) from error
    return GcsStore(
        settings.bucket,
        prefix=settings.prefix,
        endpoint_url=settings.endpoint_url or None,
        depth=settings.pipeline_threads,
    )


def _missing(backend: str, error: ModuleNotFoundError) -> ConfigError:
    return ConfigError(
        f"STORAGE_BACKEND: {backend} needs the package {error.name}, which is not installed; "
        f"install osqueue with its extra: osqueue[{backend}]"
    )
