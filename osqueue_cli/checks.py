"""What `osqueue doctor` looks at: each check says what it found and, where something is wrong, how to mend it."""

import asyncio
import logging
import os
import platform
import shutil
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any

from osqueue_cli import output
from osqueue_cli.connection import Connection
from osqueue_service.app import store_settings
from osqueue_service.clock import Clock, SystemClock
from osqueue_service.config import Settings
from osqueue_service.errors import BrokerLeadershipError, ConfigError, StoreDenied, StoreError
from osqueue_service.ids import SystemIds
from osqueue_service.leadership import GuardedClock
from osqueue_service.log import LogCounters, Root, Settler
from osqueue_service.log.reader import Reader
from osqueue_service.storage.backends import BACKENDS
from osqueue_service.storage.factory import open_store
from osqueue_service.storage.selftest import prove_conditions
from osqueue_service.storage.store import TimedStore

FREE_BYTES_MIN = 1_000_000_000
ANSWER_S = 10.0
"""How long a store may take to answer."""
PACKAGES = ("grpcio", "protobuf", "pydantic", "msgspec", "aiohttp")


class Verdict(Enum):
    """What a check came to."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    found: str
    fix: str = ""

    def as_json(self) -> dict[str, str]:
        """For programs."""
        shaped = {"check": self.name, "verdict": self.verdict.value, "found": self.found}
        return {**shaped, "fix": self.fix} if self.fix else shaped


def check_everything(overrides: Mapping[str, str], connection: Connection, *, may_write: bool) -> list[Check]:
    """All checks, in the order in which one would mend things."""
    checks = [*check_versions()]
    unknown = _Warnings()
    logging.getLogger("osqueue_service.config").addHandler(unknown)
    logging.getLogger("osqueue_service.config").propagate = False
    try:
        settings = Settings.read(os.environ, overrides)
        settings.addresses(settings.grpc_port, shared=settings.backend.shared)
    except ConfigError as error:
        return [*checks, Check("settings", Verdict.PROBLEM, str(error), "correct the variable or the flag")]
    checks += check_settings(settings, unknown.messages)
    return [*checks, *asyncio.run(_check_running(settings, connection, may_write))]


async def _check_running(settings: Settings, connection: Connection, may_write: bool) -> list[Check]:
    answering = [*check_proxy(connection), *await check_broker(connection)]
    serving = any(check.verdict is Verdict.OK for check in answering if check.name == "broker")
    return [
        *await check_storage(settings, may_write),
        *check_ports(settings, serving),
        *answering,
    ]


def check_versions() -> Iterable[Check]:
    """Python, osqueue and what it stands on."""
    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    names = [*PACKAGES, *(backend.package for backend in BACKENDS.values() if backend.package)]
    found = ", ".join(f"{name} {version}" for name in names if (version := _version(name)))
    yield Check("versions", Verdict.OK, f"osqueue {_version('osqueue') or '(not installed)'}, {python}; {found}")


def check_settings(settings: Settings, warnings: list[str]) -> Iterable[Check]:
    """What the settings mean for callers, and whether their backend is installed."""
    for warning in warnings:
        yield Check("settings", Verdict.WARNING, warning, "correct its name, or unset it")
    backend = settings.backend
    if backend.package and not _version(backend.package):
        fix = f"pip install 'osqueue[{backend.name}]'"
        yield Check("settings", Verdict.PROBLEM, f"{backend.name} needs {backend.package}", fix)
    if not backend.lasting:
        others = ", ".join(each.name for each in BACKENDS.values() if each.lasting)
        yield Check("settings", Verdict.WARNING, f"{backend.name} keeps nothing", f"choose STORAGE_BACKEND={others}")
    if settings.token:
        yield Check("access", Verdict.OK, "callers need OSQUEUE_TOKEN")
    elif settings.allow_remote:
        yield Check("access", Verdict.WARNING, "everyone who reaches the ports is served", "set OSQUEUE_TOKEN")
    else:
        yield Check("access", Verdict.OK, "no OSQUEUE_TOKEN: only callers on this machine are served")


async def check_storage(settings: Settings, may_write: bool) -> list[Check]:
    """Whether the store answers, keeps its conditions, and what lies in it."""
    clock, ids = SystemClock(), SystemIds()
    backend = settings.backend
    if not backend.lasting:
        return []
    directory = backend.values(settings.store).get("OSQUEUE_DATA_DIR")
    if directory:
        checks = check_directory(Path(directory))
        if checks:
            return checks
    try:
        opened = open_store(store_settings(settings), clock, ids, read_only=not backend.shared)
    except (ConfigError, BrokerLeadershipError) as error:
        return [Check("storage", Verdict.PROBLEM, str(error), "correct the settings of the storage")]
    store = opened.store
    try:
        async with asyncio.timeout(ANSWER_S):
            if backend.shared and may_write:
                await prove_conditions(store, clock, ids)
            root = await Reader(Settler(store, clock, ids, LogCounters())).root()
    except (ConfigError, StoreError, TimeoutError) as error:
        problem = str(error) or f"no answer within {ANSWER_S:.0f} s"
        named = problem if store.description in problem else f"{store.description}: {problem}"
        return [Check("storage", Verdict.PROBLEM, named, mend_storage(error))]
    finally:
        await store.close()
    proved = "; it keeps the conditions of puts" if backend.shared and may_write else ""
    found = [Check("storage", Verdict.OK, f"{store.description}{proved}"), *check_root(root, settings)]
    return found if opened.timed is None else [*found, *check_clock(clock, opened.timed, store.description)]


def check_clock(clock: Clock, timed: TimedStore, where: str) -> list[Check]:
    """Whether a broker with this clock would lead a queue in a store with that one."""
    fault = GuardedClock(clock, timed.store_time_ms, where).find_fault()
    fix = "synchronise this machine's clock (NTP): until then a broker on it stands by and does not lead"
    return [] if fault is None else [Check("clock", Verdict.PROBLEM, str(fault), fix)]


def mend_storage(error: Exception) -> str:
    """What to do about a store, by the way in which it failed."""
    if isinstance(error, StoreDenied) or isinstance(error.__cause__, StoreDenied):
        return "correct the credentials, the bucket's name, or what they may do there: read, write, list and delete"
    if isinstance(error, ConfigError):
        return "use a store that keeps conditions of puts"
    return "check endpoint, region and network: the store did not answer"


def check_directory(path: Path) -> list[Check]:
    """Whether a data directory can be used; nothing when it can, and holds a queue."""
    parent = next(each for each in (path, *path.absolute().parents) if each.exists())
    if not os.access(parent, os.W_OK):
        return [Check("storage", Verdict.PROBLEM, f"{parent} cannot be written", "choose another --data-dir")]
    free = shutil.disk_usage(parent).free
    if free < FREE_BYTES_MIN:
        found = f"only {output.size(free)} are free on the disk of {parent}"
        return [Check("storage", Verdict.PROBLEM, found, "free some space: a full disk stops the broker")]
    if not path.exists() or not any(path.iterdir()):
        return [Check("storage", Verdict.OK, f"{path} is new: a broker will lay it out ({output.size(free)} free)")]
    return []


def check_root(root: Any, settings: Settings) -> list[Check]:
    """Who leads, by the root, and whether this machine's clock agrees with the leader's."""
    if not isinstance(root, Root):
        return [Check("queue", Verdict.OK, "no broker has led here yet" if root is None else "of an earlier version")]
    if not root.leader:
        return [Check("queue", Verdict.OK, f"epoch {root.epoch}; nobody leads at the moment")]
    age_ms = output.now_ms() - root.broker_heartbeat
    led = f"epoch {root.epoch}, led by {root.leader}, renewed {output.duration(abs(age_ms))} "
    if age_ms < -1_000:
        fix = "synchronise the clocks (NTP): delays and ages are shown wrongly, though nothing is lost by it"
        return [Check("clock", Verdict.WARNING, f"{led}in the future: clocks differ", fix)]
    if age_ms > settings.heartbeat_timeout_ms:
        fix = "start a broker; if one runs, synchronise the clocks (NTP)"
        return [Check("queue", Verdict.WARNING, f"{led}ago: that leader is gone, or clocks differ", fix)]
    return [Check("queue", Verdict.OK, f"{led}ago")]


def check_ports(settings: Settings, serving: bool) -> Iterable[Check]:
    """Whether the ports are free for a broker and a gateway."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host
    ports = (("gRPC", settings.grpc_port, "BROKER_GRPC_PORT"), ("HTTP", settings.http_port, "BROKER_PORT"))
    for name, port, variable in ports:
        if port == 0 or not _taken(host, port):
            yield Check("ports", Verdict.OK, f"{name} port {port} is free")
        elif serving:
            yield Check("ports", Verdict.OK, f"{name} port {port} is in use, and a broker answers")
        else:
            fix = f"stop what listens there, or set {variable}"
            yield Check("ports", Verdict.WARNING, f"{name} port {port} is taken by something else", fix)


def check_proxy(connection: Connection) -> Iterable[Check]:
    """Whether a proxy stands between, whose answers look like a broker's trouble. On this machine none does."""
    from osqueue.errors import TransportConfigError
    from osqueue.transports.addresses import parse
    from osqueue.transports.causes import proxy_variable

    try:
        endpoints = parse(connection.broker or "")
    except TransportConfigError:
        return  # the check of the broker says what is wrong with it
    for endpoint in endpoints:
        variable = proxy_variable(endpoint.authority) if endpoint.kind == "grpc" else ""
        if variable:
            host = endpoint.authority.rpartition(":")[0]
            found = f"{endpoint.authority} is called through the proxy that {variable} names"
            yield Check("proxy", Verdict.WARNING, found, f"put {host} into no_proxy, unless the proxy is meant")


async def check_broker(connection: Connection) -> list[Check]:
    """Whether a broker answers where commands would look for one."""
    from osqueue import OsqueueError

    try:
        async with connection.client(max_retries=0) as client:
            info = await client.get_info()
            stats = await client.get_stats()
            address = client.state().address
    except OsqueueError as error:
        fix = "start one with `osqueue serve`, or name it with --broker or BROKER_URL"
        return [Check("broker", Verdict.WARNING, error.message, fix)]
    counts, lag_ms = stats.counts, stats.commit_lag_ms
    found = f"{address} leads with release {info.release}, {counts.total:,} live jobs, {counts.dead:,} dead"
    if lag_ms > 1_000:
        fix = "the store is slow or throttled: look at `osqueue stats --storage`"
        return [Check("broker", Verdict.WARNING, f"{found}; commits lag by {output.duration(lag_ms)}", fix)]
    return [Check("broker", Verdict.OK, found)]


class _Warnings(logging.Handler):
    """Keeps what reading the settings warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _taken(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:  # refused, or not reachable: nobody listens
        return False
