"""The limits, and of each of their keys how much runs, waits and was started.

How much runs is what the leases say and is stored nowhere: a slot cannot leak. What is stored are the definitions and
the meters of rates (`named_limits.py`).
"""

from collections.abc import Callable, Iterator
from heapq import heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from sortedcontainers import SortedList

from osqueue_service.state.model import JobSpec, LimitUse, MoreOfSpec
from osqueue_service.state.named_limits import NS_PER_MS, KeyOverride, Meter, NamedLimit, Override, Rate, StoredLimit

if TYPE_CHECKING:
    from osqueue_service.state.order import Order

OPEN = 0
"""A job of the key may start."""
FULL = -1
"""As many run as may: one must end first."""


class Family:
    """One limit with all its keys. `limit` is None after it was deleted while jobs name it: it holds nobody then."""

    __slots__ = ("keys", "limit", "name", "names", "parked", "running", "used", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.limit: NamedLimit | None = None
        self.keys: dict[str, LimitKey] = {}
        self.names: SortedList[str] = SortedList()
        """Of the keys, in order."""
        self.used = 0
        """Live jobs that name it."""
        self.running = 0
        """The cost of those that are leased."""
        self.waiting = 0
        """How many of them are not."""
        self.parked = 0
        """Keys that lines wait for."""

    def keys_behind(self, after: str | None) -> "Iterator[LimitKey]":
        """The keys in order, those behind this one (None: all). Costs what is taken of it."""
        names = self.names.irange(after, inclusive=(False, False)) if after is not None else iter(self.names)
        return (self.keys[name] for name in names)


class LimitKey:
    """One key of a limit. `running` is the cost of its leases, `waiting` counts its live jobs without one, `queued` is
    the cost of those that could be claimed."""

    __slots__ = ("arrival_ns", "family", "filed_ms", "held_until", "key", "override", "promised", "queued", "running",
                 "waiters", "waiting")  # fmt: skip

    def __init__(self, family: Family, key: str) -> None:
        self.family = family
        self.key = key
        self.running = 0
        self.waiting = 0
        self.queued = 0
        self.arrival_ns = 0
        self.held_until = 0
        self.override: Override | None = None
        # Of `Parking`: the lines that wait for it by type, the cost it has woken lines for, the moment of its timer.
        self.waiters: dict[str, Order[Any]] | None = None
        self.promised: dict[str, int] | None = None
        self.filed_ms = 0

    @property
    def name(self) -> str:
        """The limit's name."""
        return self.family.name

    @property
    def max_running(self) -> int:
        """The cost that may run at a time; below 0 any."""
        if self.override is not None and self.override.max_running >= 0:
            return self.override.max_running
        return self.family.limit.max_running if self.family.limit is not None else -1

    @property
    def rate(self) -> Rate | None:
        """The pace at which its jobs may start."""
        if self.override is not None and self.override.rate is not None:
            return self.override.rate
        return self.family.limit.rate if self.family.limit is not None else None

    @property
    def used(self) -> bool:
        """Whether anything depends on it: otherwise it need not be known."""
        return bool(self.running or self.waiting or self.arrival_ns or self.held_until or self.override)

    def opens(self, cost: int, now_ms: int, running: int = 0, arrival_ns: int = 0) -> int:
        """Whether a job of this cost may start: OPEN, FULL, or the moment (ms) at which it may. `running` and
        `arrival_ns` are of grants that are decided and not made yet."""
        limit = self.family.limit
        if limit is None:
            return OPEN
        most = self.max_running
        if most >= 0 and (not most or self.running + running + min(cost, most) > most):
            return FULL
        if self.held_until > now_ms:
            return self.held_until
        rate = self.rate
        if rate is not None:
            interval = rate.interval_ns
            now_ns = now_ms * NS_PER_MS
            paid = max(self.arrival_ns, arrival_ns, now_ns)
            early_ns = paid + min(cost, rate.burst) * interval - rate.burst * interval - now_ns
            if early_ns > 0:
                return now_ms - (-early_ns // NS_PER_MS)
        return OPEN

    def paid_after(self, cost: int, now_ms: int, arrival_ns: int = 0) -> int:
        """The theoretical arrival time after a start of this cost; 0 without a rate."""
        rate = self.rate
        if rate is None or self.family.limit is None:
            return 0
        return max(self.arrival_ns, arrival_ns, now_ms * NS_PER_MS) + min(cost, rate.burst) * rate.interval_ns

    def tokens(self, now_ms: int) -> int:
        """The cost that could start at once, as far as the rate goes."""
        rate = self.rate
        if rate is None or self.held_until > now_ms:
            return 0
        now_ns = now_ms * NS_PER_MS
        return max(0, (now_ns + rate.burst * rate.interval_ns - max(self.arrival_ns, now_ns)) // rate.interval_ns)


class LimitTable:
    """All limits and keys of one queue. `changed` hears of a key that may have more room than before."""

    def __init__(self, changed: Callable[[LimitKey], None]) -> None:
        self.families: dict[str, Family] = {}
        self.overrides = 0
        """How many keys have numbers of their own."""
        self._changed = changed
        self._attached: dict[str, list[NamedLimit]] = {}
        self._meters: list[tuple[int, str, str]] = []
        self._expiries: list[tuple[int, str, str]] = []

    def get(self, name: str) -> NamedLimit | None:
        """The definition of this name."""
        family = self.families.get(name)
        return family.limit if family is not None else None

    def defined(self) -> Iterator[NamedLimit]:
        """All limits there are, in no order."""
        return (family.limit for family in self.families.values() if family.limit is not None)

    def attached(self, type_name: str) -> list[NamedLimit]:
        """The limits that all new jobs of the type are under."""
        return self._attached.get(type_name, [])

    def attach(self, spec: JobSpec) -> JobSpec:
        """A job that the queue makes by itself, with the limits of its type; those that it names and that are not there
        are left out: it is never refused."""
        attached = self._attached.get(spec.type)
        if attached is None and not spec.limits:
            return spec
        uses = [use for use in spec.limits if self.get(use.limit) is not None]
        named = {use.limit for use in uses}
        for limit in attached or ():
            if limit.name not in named:
                uses.append(use_of(limit, spec))
        if tuple(uses) == spec.limits:
            return spec
        return replace(spec, more=replace(spec.more or MoreOfSpec(), limits=tuple(uses)))

    def known(self, name: str, key: str) -> LimitKey | None:
        """The key, if anything is known of it."""
        family = self.families.get(name)
        return family.keys.get(key) if family is not None else None

    def key(self, name: str, key: str) -> LimitKey:
        """The key, known from now on."""
        family = self.families.get(name)
        if family is None:
            family = self.families[name] = Family(name)
        found = family.keys.get(key)
        if found is None:
            found = family.keys[key] = LimitKey(family, key)
            family.names.add(key)
        return found

    def of(self, use: LimitUse) -> LimitKey:
        """The key that a job names."""
        return self.key(use.limit, use.key)

    # --- what jobs do ------------------------------------------------------------------------------------------------

    def wait(self, uses: tuple[LimitUse, ...], sign: int, *, queued: bool) -> None:
        """A live job that names these is without a lease from now on (1), or no longer (-1); `queued`: it could be
        claimed."""
        for use in uses:
            key = self.of(use)
            key.waiting += sign
            key.family.waiting += sign
            if queued:
                key.queued += sign * use.cost
            key.family.used += sign
            if sign < 0:
                self._let_go(key)

    def run(self, uses: tuple[LimitUse, ...], sign: int) -> None:
        """A lease of a job that names these begins (1) or ends (-1)."""
        for use in uses:
            key = self.of(use)
            key.running += sign * use.cost
            key.family.running += sign * use.cost
            key.family.used += sign
            self._changed(key)
            if sign < 0:
                self._let_go(key)

    # --- what is stored ----------------------------------------------------------------------------------------------

    def put(self, limit: NamedLimit) -> None:
        """The limit is as this says from now on."""
        family = self.families.get(limit.name)
        if family is None:
            family = self.families[limit.name] = Family(limit.name)
        family.limit = limit
        self._attach()
        for key in family.keys.values():
            self._changed(key)

    def delete(self, name: str) -> None:
        """The limit is gone. What jobs name still is counted on, in case it comes back."""
        family = self.families[name]
        family.limit = None
        self._attach()
        for key in list(family.keys.values()):
            self.overrides -= key.override is not None
            key.override = None
            key.arrival_ns = key.held_until = 0
            self._changed(key)
            self._let_go(key)
        if not family.keys:
            self.families.pop(name, None)

    def set_override(self, name: str, key_name: str, override: Override | None) -> None:
        """Other numbers for one key; None: none any more."""
        key = self.key(name, key_name)
        self.overrides += (override is not None) - (key.override is not None)
        key.override = override
        if override is not None and override.expires_at:
            heappush(self._expiries, (override.expires_at, name, key_name))
        self._changed(key)
        self._let_go(key)

    def set_meter(self, meter: Meter) -> None:
        """How far a key is used."""
        key = self.key(meter.limit, meter.key)
        fresh = not key.arrival_ns and not key.held_until
        key.arrival_ns, key.held_until = meter.arrival_ns, meter.held_until
        if fresh and (meter.arrival_ns or meter.held_until):
            heappush(self._meters, (_lapses_at(key), meter.limit, meter.key))
        self._changed(key)
        self._let_go(key)

    def stored(self) -> list[StoredLimit]:
        """The definitions, by name."""
        return [
            StoredLimit(
                family.limit,
                [KeyOverride(name, key.override) for name, key in sorted(family.keys.items()) if key.override],
            )
            for _, family in sorted(self.families.items())
            if family.limit is not None
        ]

    def meters(self) -> list[Meter]:
        """What is known of the use of rates, in order of names."""
        return [
            Meter(name, key_name, key.arrival_ns, key.held_until)
            for name, family in sorted(self.families.items())
            for key_name, key in sorted(family.keys.items())
            if key.arrival_ns or key.held_until
        ]

    # --- what comes due ----------------------------------------------------------------------------------------------

    def next_expiry_ms(self) -> int | None:
        """When the next override ends."""
        expiries = self._expiries
        while expiries:
            at_ms, name, key_name = expiries[0]
            key = self.known(name, key_name)
            if key is not None and key.override is not None and key.override.expires_at == at_ms:
                return at_ms
            heappop(expiries)
        return None

    def expired(self, now_ms: int, limit: int) -> list[tuple[str, str]]:
        """Overrides that have ended (limit, key), at most `limit` of them."""
        found: dict[tuple[str, str], None] = {}
        if (at_ms := self.next_expiry_ms()) is None or at_ms > now_ms:
            return []
        for at_ms, name, key_name in sorted(entry for entry in self._expiries if entry[0] <= now_ms):
            key = self.known(name, key_name)
            if key is not None and key.override is not None and key.override.expires_at == at_ms:
                found[name, key_name] = None
        return list(found)[:limit]

    def next_lapse_ms(self) -> int | None:
        """When the next meter says nothing any more."""
        meters = self._meters
        while meters:
            at_ms, name, key_name = meters[0]
            key = self.known(name, key_name)
            if key is None or not (key.arrival_ns or key.held_until):
                heappop(meters)
            elif (lapses := _lapses_at(key)) != at_ms:
                heapreplace(meters, (lapses, name, key_name))
            else:
                return at_ms
        return None

    def lapsed(self, now_ms: int, limit: int) -> list[Meter]:
        """Meters that say nothing any more, as records of that; at most `limit` of them."""
        found: dict[tuple[str, str], None] = {}
        back = []
        while len(found) < limit and (at_ms := self.next_lapse_ms()) is not None and at_ms <= now_ms:
            entry = heappop(self._meters)
            back.append(entry)
            found[entry[1], entry[2]] = None
        for entry in back:
            heappush(self._meters, entry)
        return [Meter(name, key_name, 0) for name, key_name in found]

    def _attach(self) -> None:
        self._attached = {}
        for limit in sorted(self.defined(), key=lambda limit: limit.name):
            for name in limit.types or {}:
                self._attached.setdefault(name, []).append(limit)

    def _let_go(self, key: LimitKey) -> None:
        """Forget a key of which nothing is known any more, and the limit that nobody names."""
        if key.used:
            return
        family = key.family
        if family.keys.get(key.key) is key:
            del family.keys[key.key]
            family.names.remove(key.key)
        if not family.keys and family.limit is None:
            self.families.pop(family.name, None)


def use_of(limit: NamedLimit, spec: JobSpec) -> LimitUse:
    """What a job is under that did not ask for it: the key is in its metadata."""
    field = (limit.types or {}).get(spec.type, "")
    return LimitUse(limit.name, (spec.metadata or {}).get(field, "") if limit.per_key else "")


def _lapses_at(key: LimitKey) -> int:
    """The first whole millisecond at which its meter changes nothing."""
    return max(-(-key.arrival_ns // NS_PER_MS), key.held_until)
