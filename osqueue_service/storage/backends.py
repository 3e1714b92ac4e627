"""The stores that a broker can keep its queue in. Another one is a module of its own and one entry here.

Configuration, flags and their help, doctor, prices, who may lead and what must be proved at the start all read this.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from osqueue_service.clock import Clock
from osqueue_service.errors import ConfigError
from osqueue_service.ids import IdSource
from osqueue_service.setting import Setting, endpoint_url, line
from osqueue_service.storage.file import FileStore
from osqueue_service.storage.memory import MemoryStore
from osqueue_service.storage.store import ObjectStore
from osqueue_service.storage.usage import FREE, PriceTable

PREFIX_CHARACTERS_MAX = 400


class Opening(NamedTuple):
    """What a store is opened with. `values` has all settings of its backend, by name. `threads` is how many puts may be
    on their way at once. `read_only` is for looking at a queue that a broker may be using."""

    values: Mapping[str, str]
    clock: Clock
    ids: IdSource
    threads: int
    read_only: bool


@dataclass(frozen=True, slots=True)
class Backend:
    """One kind of store.

    `prices`: what requests cost, by the names of price tables; the first is the default. `shared`: brokers on several
    machines can use one store, so that others dial the leader from elsewhere and the store must prove that it refuses
    what it must. What is not shared has one broker at a time, which proves all earlier ones dead. `package` is what
    must be installed, and the backend's name is the extra that brings it. `lasting`: the queue outlives its broker.
    `place` is the setting by which queues lie beside each other: a directory, a prefix in a bucket.
    """

    name: str
    summary: str
    settings: tuple[Setting, ...]
    open: Callable[[Opening], ObjectStore]
    prices: Mapping[str, PriceTable] = field(default_factory=dict)
    shared: bool = True
    lasting: bool = True
    package: str = ""
    place: str = ""

    def values(self, given: Mapping[str, str]) -> dict[str, str]:
        """The values of all settings. `ConfigError` names the one that is missing."""
        for each in self.settings:
            if each.required and not given.get(each.name, each.default):
                raise ConfigError(f"{each.name}: is required with STORAGE_BACKEND={self.name}")
        return {each.name: given.get(each.name, each.default) for each in self.settings}

    @property
    def default_prices(self) -> PriceTable:
        """The price table that holds unless another is chosen."""
        return next(iter(self.prices.values()), FREE)


def _prefix(text: str) -> str:
    if len(text) > PREFIX_CHARACTERS_MAX or not text.isprintable() or text.startswith("/"):
        raise ValueError(f"it must be at most {PREFIX_CHARACTERS_MAX} printable characters and not begin with a slash")
    return text


def _emulator_host(text: str) -> str:
    """Google's libraries take it with a scheme or without."""
    return endpoint_url(text if "://" in text else f"http://{text}")


def _open_s3(opening: Opening) -> ObjectStore:
    from osqueue_service.storage.s3 import S3Store

    values = opening.values
    return S3Store(
        values["S3_BUCKET"],
        clock=opening.clock,
        prefix=values["S3_PREFIX"],
        region=values["S3_REGION"] or None,
        endpoint_url=values["S3_ENDPOINT_URL"] or None,
        depth=opening.threads,
    )


def _open_gcs(opening: Opening) -> ObjectStore:
    from osqueue_service.storage.gcs import GcsStore

    values = opening.values
    return GcsStore(
        values["GCS_BUCKET"],
        clock=opening.clock,
        prefix=values["GCS_PREFIX"],
        endpoint_url=values["STORAGE_EMULATOR_HOST"] or None,
        depth=opening.threads,
    )


def _setting(name: str, help: str, *, parse: Callable[[str], str] = line, default: str = "", flag: str = "") -> Setting:
    flag = flag or name.lower().replace("_", "-")
    return Setting(name=name, flag=flag, default=default, parse=parse, help=help, required=name.endswith("_BUCKET"))


_DATA_DIR = Setting(
    name="OSQUEUE_DATA_DIR", flag="data-dir", default="osqueue-data", parse=line,
    help="Directory of the file backend.", required=True,
)  # fmt: skip

# Prices are list prices of late 2026 in the providers' cheapest regions, storage and traffic left out.
BACKENDS = {
    backend.name: backend
    for backend in (
        Backend(
            "memory",
            "This process's memory: for trying things out. The queue ends with the broker.",
            (),
            lambda opening: MemoryStore(clock=opening.clock),
            shared=False,
            lasting=False,
        ),
        Backend(
            "file",
            "A directory on a local disk, for one machine.",
            (_DATA_DIR,),
            lambda opening: FileStore.open(
                Path(opening.values["OSQUEUE_DATA_DIR"]),
                threads=opening.threads,
                clock=opening.clock,
                ids=opening.ids,
                read_only=opening.read_only,
            ),
            shared=False,
            place="OSQUEUE_DATA_DIR",
        ),
        Backend(
            "s3",
            "A bucket of Amazon S3, or of a store that speaks its protocol and keeps conditions of puts.",
            (
                _setting("S3_BUCKET", "Bucket of the s3 backend."),
                _setting("S3_REGION", "Region of the bucket."),
                _setting("S3_PREFIX", "What all keys in the bucket begin with, taken literally.", parse=_prefix),
                _setting("S3_ENDPOINT_URL", "For S3-compatible stores other than AWS.", parse=endpoint_url),
            ),
            _open_s3,
            {
                "s3": PriceTable(put=5.00, get=0.40, list=5.00),
                "s3-express": PriceTable(put=1.13, get=0.03, list=1.13),
                "r2": PriceTable(put=4.50, get=0.36, list=4.50),
            },
            package="boto3",
            place="S3_PREFIX",
        ),
        Backend(
            "gcs",
            "A bucket of Google Cloud Storage.",
            (
                _setting("GCS_BUCKET", "Bucket of the gcs backend."),
                _setting("GCS_PREFIX", "What all keys in the bucket begin with, taken literally.", parse=_prefix),
                _setting(
                    "STORAGE_EMULATOR_HOST", "An emulator of GCS, which gets no credentials.",
                    parse=_emulator_host, flag="gcs-endpoint-url",
                ),
            ),
            _open_gcs,
            {"gcs": PriceTable(put=5.00, get=0.40, list=5.00)},
            package="google-cloud-storage",
            place="GCS_PREFIX",
        ),
    )
}  # fmt: skip
"""By name, in the order in which people read of them."""


def implied_backend(given: Collection[str], default: str) -> str:
    """The backend to use where none was chosen, by the names of the settings that are given.

    A queue that was given a place must not be kept in memory because nobody said so: a directory is used, and a bucket,
    in which other brokers may be at work, raises `ConfigError`.
    """
    if BACKENDS[default].lasting:
        return default
    for backend in BACKENDS.values():
        for each in backend.settings:
            if not each.required or each.name not in given:
                continue
            if backend.shared:
                raise ConfigError(
                    f"{each.name}: is given, and no STORAGE_BACKEND says that the queue is kept there: set "
                    f"STORAGE_BACKEND={backend.name}, or unset {each.name}; the default, {default}, keeps nothing"
                )
            return backend.name
    return default


def price_tables() -> dict[str, PriceTable]:
    """All price tables by name: "none", and those of every backend."""
    return {"none": FREE} | {name: table for each in BACKENDS.values() for name, table in each.prices.items()}


def backend_named(name: str) -> Backend:
    """The backend of this name; `ConfigError` lists those that there are."""
    found = BACKENDS.get(name)
    if found is None:
        raise ConfigError(f"STORAGE_BACKEND: must be one of {', '.join(BACKENDS)}, not {name!r}")
    return found


def price_table_named(name: str) -> PriceTable:
    """The price table of this name; `ConfigError` lists those that there are."""
    tables = price_tables()
    if name not in tables:
        raise ConfigError(f"OSQUEUE_STORAGE_PRICES: must be one of {', '.join(tables)}, not {name!r}")
    return tables[name]
