"""What a broker can be told, by environment or by flag: names, defaults, and what is allowed.

A wrong value raises `ConfigError` naming the setting and what it must be: a broker that
starts with a setting it did not understand is worse than one that does not start.
"""

import logging
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from osqueue_service.engine.settings import DEFAULT_INTERVAL_MS
from osqueue_service.errors import ConfigError
from osqueue_service.limits import DEFAULT_LIMITS, Limits
from osqueue_service.outward import outward_host

log = logging.getLogger(__name__)

BACKENDS = ("memory", "file", "s3", "gcs")
SHARED_BACKENDS = ("s3", "gcs")
"""Stores that brokers on several machines can share, so that others dial the leader from elsewhere."""

LIMIT_PREFIX = "OSQUEUE_LIMIT_"
"""A limit of docs/limits.md is changed by its name in capitals after this: OSQUEUE_LIMIT_PAYLOAD_BYTES=2097152."""

_WILDCARDS = ("0.0.0.0", "::")
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
BREEZEQ = {
    "FRONTEND_PORT": "BROKER_PORT (HTTP) and BROKER_GRPC_PORT",
    "BACKEND_PORT": "BROKER_GRPC_PORT, which workers and producers share",
    "DB_PATH": "OSQUEUE_DATA_DIR",
    "HEARTBEAT_INTERVAL": "nothing: a worker renews its leases by itself",
    "LIVENESS_FACTOR": "lease_ms of a job",
    "JOB_TIMEOUT": "timeout_ms of a job",
    "RETRY_COUNT": "max_attempts of a job, which is one more",
}
"""Variables that BreezeQ reads, and what takes their place here."""

_OWN_PREFIXES = ("BROKER_", "STORAGE_", "S3_", "GCS_", "COMMIT_", "GROUP_COMMIT_")
"""Others have variables with these prefixes too, so that only one very like ours is taken for a misspelling."""

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("", "0", "false", "no", "off")

Parse = Callable[[str], Any]


def _whole_number(least: int, most: int) -> Parse:
    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise ValueError(f"it must be a whole number from {least:,} to {most:,}")
        return int(text)

    return parse


def _one_of(*allowed: str) -> Parse:
    def parse(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(f"it must be one of {', '.join(allowed)}")
        return text.lower()

    return parse


def _switch(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError("it must be 1 or 0")
    return text.lower() in _TRUE


def _text(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it must be one line of printable characters")
    return text


def _endpoint_url(text: str) -> str:
    url = urlsplit(_text(text))
    if "@" in text:
        raise ValueError("it must carry no credentials: they come from where the cloud's own tools look for them")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("it must be a URL that begins with http:// or https://")
    return text


def _emulator_host(text: str) -> str:
    """Google's libraries take it with a scheme or without."""
    return _endpoint_url(text if "://" in text else f"http://{text}")


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f]*:[0-9A-Fa-f.:%a-z]*:[0-9A-Fa-f.:%a-z]*", text):
        raise ValueError("it must be a host name or an IP address, without a port")
    return text


def _address(text: str) -> str:
    match = _ADDRESS.fullmatch(text)
    if text and (match is None or not 0 < int(match[2]) < 65_536):
        raise ValueError("it must be host:port, such as broker-1.internal:8081")
    return text


def _token(text: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]*", text):
        raise ValueError("it must be visible ASCII characters without spaces, so that it fits in a header")
    return text


_LIMIT = _whole_number(1, 10**15)


def _setting(name: str, default: Any, parse: Parse, help: str, *, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"name": name, "parse": parse, "help": help})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One broker's settings. Each field's metadata has its `name` in the environment and a `help` for people."""

    host: str = _setting("BROKER_HOST", "0.0.0.0", _host, "Address to listen on.")
    grpc_port: int = _setting("BROKER_GRPC_PORT", 8081, _whole_number(0, 65_535), "Port of the broker; 0: any.")
    http_port: int = _setting("BROKER_PORT", 8080, _whole_number(0, 65_535), "Port of the gateway.")
    metrics_port: int = _setting(
        "BROKER_METRICS_PORT", 0, _whole_number(0, 65_535), "Port of a broker's own /metrics and /readyz; 0: none."
    )
    advertise_address: str = _setting(
        "BROKER_ADVERTISE_ADDRESS", "", _address, "host:port at which others reach this broker over gRPC."
    )
    http_address: str = _setting(
        "BROKER_HTTP_ADDRESS", "", _address, "host:port at which others reach this broker's gateway."
    )

    storage_backend: str = _setting("STORAGE_BACKEND", "memory", _one_of(*BACKENDS), "Where the queue is kept.")
    data_dir: str = _setting("OSQUEUE_DATA_DIR", "osqueue-data", _text, "Directory of the file backend.")
    s3_bucket: str = _setting("S3_BUCKET", "", _text, "Bucket of the s3 backend.")
    s3_region: str = _setting("S3_REGION", "", _text, "Region of the bucket.")
    s3_prefix: str = _setting("S3_PREFIX", "", _text, "What all keys in the bucket begin with, to the letter.")
    s3_endpoint_url: str = _setting("S3_ENDPOINT_URL", "", _endpoint_url, "For S3-compatible stores other than AWS.")
    gcs_bucket: str = _setting("GCS_BUCKET", "", _text, "Bucket of the gcs backend.")
    gcs_prefix: str = _setting("GCS_PREFIX", "", _text, "What all keys in the bucket begin with.")
    gcs_endpoint_url: str = _setting(
        "STORAGE_EMULATOR_HOST", "", _emulator_host, "An emulator of GCS, which gets no credentials."
    )
    max_reads_per_minute: int = _setting(
        "S3_MAX_READS_PER_MINUTE",
        0,
        _whole_number(0, 10**9),
        "Reads beyond this wait, on any backend; 0: no limit.",
    )
    max_writes_per_minute: int = _setting(
        "S3_MAX_WRITES_PER_MINUTE",
        0,
        _whole_number(0, 10**9),
        "Writes beyond this wait, on any backend; 0: no limit.",
    )
    max_writes_per_day: int = _setting(
        "S3_MAX_WRITES_PER_DAY",
        0,
        _whole_number(0, 10**12),
        "Until then writes pass at once each day (UTC); 0: off.",
    )

    storage_prices: str = _setting(
        "OSQUEUE_STORAGE_PRICES",
        "",
        _one_of("none", "s3", "s3-express", "gcs", "r2"),
        "Price table that costs are shown by. Unset: that of the backend.",
    )

    group_commit_interval_ms: int = _setting(
        "GROUP_COMMIT_INTERVAL_MS",
        DEFAULT_INTERVAL_MS,
        _whole_number(0, 60_000),
        "How long a change waits at most for others to share its commit, while commits are under way.",
    )
    commit_spacing_ms: int = _setting(
        "COMMIT_SPACING_MS",
        0,
        _whole_number(0, 60_000),
        "Start commits at least this far apart, to save requests; 0: as soon as there is something to commit.",
    )
    heartbeat_interval_ms: int = _setting(
        "BROKER_HEARTBEAT_INTERVAL_MS", 3_000, _whole_number(10, 3_600_000), "How often the leader renews its hold."
    )
    heartbeat_timeout_ms: int = _setting(
        "BROKER_HEARTBEAT_TIMEOUT_MS", 10_000, _whole_number(20, 3_600_000), "Silence after which a standby takes over."
    )
    warm_standby: bool = _setting(
        "BROKER_WARM_STANDBY",
        True,
        _switch,
        "0: a standby does not follow the log; saves a request for each commit, and it reads everything to take over.",
    )

    token: str = _setting("OSQUEUE_TOKEN", "", _token, "Bearer token that every call must carry.", secret=True)
    allow_remote: bool = _setting(
        "OSQUEUE_ALLOW_REMOTE", False, _switch, "1: without a token, serve everyone who can reach the port."
    )
    tls_cert_file: str = _setting("OSQUEUE_TLS_CERT_FILE", "", _text, "Certificate chain (PEM): serve gRPC over TLS.")
    tls_key_file: str = _setting("OSQUEUE_TLS_KEY_FILE", "", _text, "Private key (PEM) of the certificate.")

    log_level: str = _setting(
        "LOG_LEVEL", "info", _one_of("debug", "info", "warning", "error"), "Least severity that is logged."
    )
    log_format: str = _setting("LOG_FORMAT", "text", _one_of("text", "json"), "json: one object per line.")

    limits: Limits = field(default=DEFAULT_LIMITS, metadata={"name": LIMIT_PREFIX, "help": "See docs/limits.md."})

    def __post_init__(self) -> None:
        if self.heartbeat_interval_ms >= self.heartbeat_timeout_ms:
            raise ConfigError(
                f"BROKER_HEARTBEAT_INTERVAL_MS is {self.heartbeat_interval_ms}; it must be below "
                f"BROKER_HEARTBEAT_TIMEOUT_MS, which is {self.heartbeat_timeout_ms}"
            )
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            raise ConfigError("OSQUEUE_TLS_CERT_FILE and OSQUEUE_TLS_KEY_FILE: set both, or neither")
        for backend, name, bucket in (("s3", "S3_BUCKET", self.s3_bucket), ("gcs", "GCS_BUCKET", self.gcs_bucket)):
            if self.storage_backend == backend and not bucket:
                raise ConfigError(f"{name}: is required with STORAGE_BACKEND={backend}")
        if self.storage_backend == "file" and not self.data_dir:
            raise ConfigError("OSQUEUE_DATA_DIR: is required with STORAGE_BACKEND=file")

    @classmethod
    def read(cls, environment: Mapping[str, str], overrides: Mapping[str, str] | None = None) -> "Settings":
        """The settings of an environment; `overrides`, by the same names, win. Empty means unset."""
        given = {name: text for name, text in {**environment, **(overrides or {})}.items() if text}
        own = {each.metadata["name"]: each for each in fields(cls) if each.name != "limits"}
        values = {
            each.name: _parsed(name, given[name], each.metadata["parse"]) for name, each in own.items() if name in given
        }
        limits = {f"{LIMIT_PREFIX}{each.name.upper()}": each.name for each in fields(Limits)}
        changed = {field: _parsed(name, given[name], _LIMIT) for name, field in limits.items() if name in given}
        _warn_of_strangers(given, {*own, *limits})
        return cls(**values, limits=replace(DEFAULT_LIMITS, **changed))

    def addresses(self, grpc_port: int, outward: Callable[[], str] = outward_host) -> tuple[str, str]:
        """Where others reach this broker, over HTTP and over gRPC, given the port that it listens on. Where the host
        does not say it and machines share the store, it is this machine's `outward` address."""
        host = self.host
        if host in _WILDCARDS:
            host = (outward() if self.shares_its_store else "") or "127.0.0.1"
        host = f"[{host}]" if ":" in host else host
        return self.http_address or f"{host}:{self.http_port}", self.advertise_address or f"{host}:{grpc_port}"

    @property
    def shares_its_store(self) -> bool:
        """Whether brokers on other machines may use the same store."""
        return self.storage_backend in SHARED_BACKENDS

    @property
    def guessed_addresses(self) -> list[str]:
        """Names of the settings that are not set although others depend on what they say."""
        if not self.shares_its_store or self.host not in _WILDCARDS:
            return []
        said = {"BROKER_ADVERTISE_ADDRESS": self.advertise_address, "BROKER_HTTP_ADDRESS": self.http_address}
        return [name for name, value in said.items() if not value]


def _warn_of_strangers(given: Collection[str], known: Collection[str]) -> None:
    """What looks like a setting and is not one would be ignored in silence."""
    for name in sorted(given):
        if name in known:
            continue
        if name in BREEZEQ:
            log.warning(
                "the environment variable %s is BreezeQ's and has no effect; here it is %s", name, BREEZEQ[name]
            )
        elif name.startswith("OSQUEUE_"):
            meant = get_close_matches(name, known, 1)
            hint = f"; is {meant[0]} meant?" if meant else ""
            log.warning("the environment variable %s is not known and has no effect%s", name, hint)
        elif name.startswith(_OWN_PREFIXES) and (meant := get_close_matches(name, known, 1, cutoff=0.9)):
            log.warning("the environment variable %s has no effect; is %s meant?", name, meant[0])


def _parsed(name: str, text: str, parse: Parse) -> Any:
    try:
        return parse(text.strip())
    except ValueError as problem:
        shown = "its value" if name == "OSQUEUE_TOKEN" or "@" in text else repr(text)
        raise ConfigError(f"{name}: {shown} is not allowed; {problem}") from None
