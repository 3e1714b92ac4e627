"""Stores built from settings: the backend, counted, and throttled where limits are set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from osqueue_service.clock import Clock
from osqueue_service.errors import ConfigError
from osqueue_service.ids import IdSource
from osqueue_service.storage.backends import Backend, Opening
from osqueue_service.storage.instrumented import InstrumentedStore
from osqueue_service.storage.store import ExclusiveStore, ObjectStore, TimedStore
from osqueue_service.storage.throttled import Throttle, ThrottledStore, ThrottleLimits
from osqueue_service.storage.usage import FREE, PriceTable, StoreUsage


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where the queue lives: a backend, and the values of its settings by their names.

    `pipeline_threads` is how many puts may be on their way at once.
    """

    backend: Backend
    values: Mapping[str, str] = field(default_factory=dict)
    pipeline_threads: int = 4
    limits: ThrottleLimits = field(default_factory=ThrottleLimits)
    prices: PriceTable = FREE


class OpenedStore(NamedTuple):
    """A store and what is known about it.

    `throttle` is None where nothing is limited. `exclusive` is there where only one broker can use the store: having
    claimed it proves every earlier leader dead. `backend` is its name, where it is one of `BACKENDS`. `timed` is there
    where the store tells the time by a clock of its own.
    """

    store: ObjectStore
    usage: StoreUsage
    throttle: Throttle | None = None
    exclusive: ExclusiveStore | None = None
    backend: str = ""
    timed: TimedStore | None = None

    @property
    def kind(self) -> str:
        """The backend's name; of a store of somebody's own the scheme of its description."""
        return self.backend or self.store.description.partition(":")[0]


def open_store(settings: StoreSettings, clock: Clock, ids: IdSource, *, read_only: bool = False) -> OpenedStore:
    """Open the backend and what goes around it. `ConfigError` names the setting at fault, a missing extra included.

    `read_only` is for looking at a queue that a broker may be using: a data directory is then not touched.
    """
    backend = settings.backend
    opening = Opening(backend.values(settings.values), clock, ids, settings.pipeline_threads, read_only)
    try:
        store = backend.open(opening)
    except ModuleNotFoundError as error:
        if not backend.package:
            raise
        raise ConfigError(
            f"STORAGE_BACKEND: {backend.name} needs the package {error.name}, which is not installed; "
            f"install osqueue with its extra: osqueue[{backend.name}]"
        ) from error
    return surround(store, clock, backend=backend.name, limits=settings.limits, prices=settings.prices)


def surround(
    store: ObjectStore,
    clock: Clock,
    *,
    backend: str = "",
    limits: ThrottleLimits | None = None,
    prices: PriceTable = FREE,
) -> OpenedStore:
    """The store with its requests counted, and throttled where limits are set."""
    usage = StoreUsage(clock, prices)
    instrumented = InstrumentedStore(store, clock, usage)
    exclusive = store if isinstance(store, ExclusiveStore) else None
    timed = store if isinstance(store, TimedStore) else None
    if limits is None or not limits.any:
        return OpenedStore(instrumented, usage, None, exclusive, backend, timed)
    throttle = Throttle(limits, clock)
    return OpenedStore(ThrottledStore(instrumented, throttle), usage, throttle, exclusive, backend, timed)
