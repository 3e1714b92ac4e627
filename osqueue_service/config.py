"""What a broker can be told, by environment or by flag: names, defaults, and what is allowed.

A wrong value raises `ConfigError` naming the setting and what it must be: a broker that
starts with a setting it did not understand is worse than one that does not start.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from osqueue_protocol.breezeq import BREEZEQ
from osqueue_service import setting
from osqueue_service.engine.settings import DEFAULT_INTERVAL_MS
from osqueue_service.errors import ConfigError
from osqueue_service.limits import DEFAULT_LIMITS, Limits
from osqueue_service.outward import outward_host
from osqueue_service.setting import Parse, Setting
from osqueue_service.storage.backends import BACKENDS, Backend, backend_named, implied_backend, price_tables

log = logging.getLogger(__name__)

LIMIT_PREFIX = "OSQUEUE_LIMIT_"
"""A limit of docs/limits.md is changed by its name in capitals after this: OSQUEUE_LIMIT_PAYLOAD_BYTES=2097152."""

BUCKET_RETENTION_MS = 86_400_000
"""How long checkpoints and log are kept in a bucket unless told otherwise; a directory keeps nothing."""

_DEFAULT_BACKEND = "memory"
_WILDCARDS = ("0.0.0.0", "::")

_OWN_PREFIXES = ("BROKER_", "STORAGE_", "S3_", "GCS_", "COMMIT_", "GROUP_COMMIT_")
"""Others have variables with these prefixes too, so that only one very like ours is taken for a misspelling."""

_JOB_DEFAULTS = ("default_timeout_ms", "default_max_attempts")
"""Settings that are limits by another name."""

_LIMIT = setting.whole_number(1, 10**15)


def _setting(name: str, default: Any, parse: Parse, help: str, *, secret: bool = False, flag: str = "") -> Any:
    """`flag`, where it is not the field's name."""
    metadata = {"name": name, "parse": parse, "help": help, "secret": secret, "flag": flag}
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One broker's settings. Each field's metadata has its `name` in the environment and a `help` for people."""

    host: str = _setting("BROKER_HOST", "0.0.0.0", setting.host, "Address to listen on.")
    grpc_port: int = _setting("BROKER_GRPC_PORT", 8081, setting.whole_number(0, 65_535), "Port of the broker; 0: any.")
    http_port: int = _setting("BROKER_PORT", 8080, setting.whole_number(0, 65_535), "Port of the gateway.")
    metrics_port: int = _setting(
        "BROKER_METRICS_PORT",
        0,
        setting.whole_number(0, 65_535),
        "Port of a broker's own /metrics and /readyz; 0: none.",
    )
    advertise_address: str = _setting(
        "BROKER_ADVERTISE_ADDRESS", "", setting.address, "host:port at which others reach this broker over gRPC."
    )
    http_address: str = _setting(
        "BROKER_HTTP_ADDRESS", "", setting.address, "host:port at which others reach this broker's gateway."
    )

    storage_backend: str = _setting(
        "STORAGE_BACKEND", _DEFAULT_BACKEND, setting.one_of(lambda: [*BACKENDS]), "Where the queue is kept."
    )
    store: Mapping[str, str] = field(default_factory=dict)
    """Values of the backends' own settings, by name."""
    max_reads_per_minute: int = _setting(
        "S3_MAX_READS_PER_MINUTE",
        0,
        setting.whole_number(0, 10**9),
        "Reads beyond this wait, on any backend; 0: no limit.",
    )
    max_writes_per_minute: int = _setting(
        "S3_MAX_WRITES_PER_MINUTE",
        0,
        setting.whole_number(0, 10**9),
        "Writes beyond this wait, on any backend; 0: no limit.",
    )
    max_writes_per_day: int = _setting(
        "S3_MAX_WRITES_PER_DAY",
        0,
        setting.whole_number(0, 10**12),
        "This many writes pass at once each day (UTC); 0: off.",
    )

    storage_prices: str = _setting(
        "OSQUEUE_STORAGE_PRICES",
        "",
        setting.one_of(lambda: [*price_tables()]),
        "Price table that costs are shown by. Unset: that of the backend.",
    )

    group_commit_interval_ms: int = _setting(
        "GROUP_COMMIT_INTERVAL_MS",
        DEFAULT_INTERVAL_MS,
        setting.whole_number(0, 60_000),
        "How long a change may wait for others to share its commit, while commits are under way.",
    )
    commit_spacing_ms: int = _setting(
        "COMMIT_SPACING_MS",
        0,
        setting.whole_number(0, 60_000),
        "Start commits at least this far apart, to save requests; 0: as soon as there is something to commit.",
    )
    default_timeout_ms: int = _setting(
        "DEFAULT_TIMEOUT_MS",
        0,
        setting.whole_number(0, DEFAULT_LIMITS.timeout_ms_max),
        "How long an attempt may take of a job that does not say it; 0: as long as it likes.",
    )
    default_max_attempts: int = _setting(
        "DEFAULT_MAX_ATTEMPTS",
        DEFAULT_LIMITS.default_max_attempts,
        setting.whole_number(1, DEFAULT_LIMITS.max_attempts),
        "How many attempts a job has that does not say it; 1: a handler that fails runs once.",
    )
    heartbeat_interval_ms: int = _setting(
        "BROKER_HEARTBEAT_INTERVAL_MS",
        3_000,
        setting.whole_number(10, 3_600_000),
        "How often the leader renews its hold.",
    )
    heartbeat_timeout_ms: int = _setting(
        "BROKER_HEARTBEAT_TIMEOUT_MS",
        10_000,
        setting.whole_number(20, 3_600_000),
        "Silence after which a standby takes over.",
    )
    warm_standby: bool = _setting(
        "BROKER_WARM_STANDBY",
        True,
        setting.switch,
        "0: a standby does not follow the log; saves a request for each commit, and it reads everything to take over.",
    )

    log_retention_ms: int | None = _setting(
        "LOG_RETENTION",
        None,
        setting.span,
        "How far back in time `osqueue restore` reaches: 12h, 7d; 0: nowhere. Unset: 24h in a bucket, 0 elsewhere.",
        flag="log-retention",
    )

    token: str = _setting("OSQUEUE_TOKEN", "", setting.token, "Bearer token that every call must carry.", secret=True)
    token_file: str = _setting(
        "OSQUEUE_TOKEN_FILE", "", setting.line, "File that holds OSQUEUE_TOKEN, read at the start."
    )
    access_file: str = _setting(
        "OSQUEUE_ACCESS_FILE",
        "",
        setting.line,
        "File that declares tokens and their scopes; read again when it changes.",
    )
    issuers_file: str = _setting(
        "OSQUEUE_ISSUERS_FILE",
        "",
        setting.line,
        "File that names issuers of JWTs, and what their claims give; read at the start.",
    )
    allow_remote: bool = _setting(
        "OSQUEUE_ALLOW_REMOTE", False, setting.switch, "1: without a token, serve everyone who can reach the port."
    )
    tls_cert_file: str = _setting(
        "OSQUEUE_TLS_CERT_FILE", "", setting.line, "Certificate chain (PEM): serve gRPC over TLS."
    )
    tls_key_file: str = _setting("OSQUEUE_TLS_KEY_FILE", "", setting.line, "Private key (PEM) of the certificate.")
    tls_client_ca_file: str = _setting(
        "OSQUEUE_TLS_CLIENT_CA_FILE",
        "",
        setting.line,
        "Authority (PEM) of callers' certificates: who shows none of it over gRPC is not connected.",
    )
    tls_ca_file: str = _setting(
        "OSQUEUE_TLS_CA_FILE",
        "",
        setting.line,
        "Authority (PEM) of the brokers' certificates, which they check of each other. Unset: those of the system.",
    )
    http_tls_cert_file: str = _setting(
        "OSQUEUE_HTTP_TLS_CERT_FILE", "", setting.line, "Certificate chain (PEM) of the gateway: serve HTTPS."
    )
    http_tls_key_file: str = _setting(
        "OSQUEUE_HTTP_TLS_KEY_FILE", "", setting.line, "Private key (PEM) of the gateway's certificate."
    )

    log_level: str = _setting(
        "LOG_LEVEL",
        "info",
        setting.one_of(lambda: ["debug", "info", "warning", "error"]),
        "Lowest severity that is logged.",
    )
    log_format: str = _setting(
        "LOG_FORMAT", "text", setting.one_of(lambda: ["text", "json"]), "json: one object per line."
    )

    limits: Limits = field(default=DEFAULT_LIMITS, metadata={"name": LIMIT_PREFIX, "help": "See docs/limits.md."})

    def __post_init__(self) -> None:
        if self.heartbeat_interval_ms >= self.heartbeat_timeout_ms:
            raise ConfigError(
                f"BROKER_HEARTBEAT_INTERVAL_MS is {self.heartbeat_interval_ms}; it must be below "
                f"BROKER_HEARTBEAT_TIMEOUT_MS, which is {self.heartbeat_timeout_ms}"
            )
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            raise ConfigError("OSQUEUE_TLS_CERT_FILE and OSQUEUE_TLS_KEY_FILE: set both, or neither")
        if bool(self.http_tls_cert_file) != bool(self.http_tls_key_file):
            raise ConfigError("OSQUEUE_HTTP_TLS_CERT_FILE and OSQUEUE_HTTP_TLS_KEY_FILE: set both, or neither")
        if self.tls_client_ca_file and not self.tls_cert_file:
            raise ConfigError("OSQUEUE_TLS_CLIENT_CA_FILE: needs OSQUEUE_TLS_CERT_FILE and OSQUEUE_TLS_KEY_FILE")
        self.backend.values(self.store)
        changed = {name: getattr(self, name) for name in _JOB_DEFAULTS if self._says(name)}
        if changed:
            object.__setattr__(self, "limits", replace(self.limits, **changed))

    def _says(self, name: str) -> bool:
        """A default of jobs was set by its own name. It is a limit, too; where both are set they must be the same."""
        value, unset = getattr(self, name), getattr(DEFAULT_LIMITS, name)
        if value != unset and getattr(self.limits, name) not in (unset, value):
            raise ConfigError(f"{name.upper()} and {LIMIT_PREFIX}{name.upper()}: set one of them")
        return bool(value != unset)

    @classmethod
    def read(cls, environment: Mapping[str, str], overrides: Mapping[str, str] | None = None) -> "Settings":
        """The settings of an environment; `overrides`, by the same names, win. Empty means unset."""
        given = {name: text for name, text in {**environment, **(overrides or {})}.items() if text}
        own = {name: each.read(given[name]) for name, each in known_settings().items() if name in given}
        limits = {f"{LIMIT_PREFIX}{each.name.upper()}": each.name for each in fields(Limits)}
        changed = {
            field: Setting(name=name, flag="", default=None, parse=_LIMIT, help="").read(given[name])
            for name, field in limits.items()
            if name in given
        }
        if "STORAGE_BACKEND" not in own:
            own["STORAGE_BACKEND"] = implied_backend(own, _DEFAULT_BACKEND)
        _warn_of_strangers(given, {*known_settings(), *limits})
        values = {each.name: own.pop(each.metadata["name"]) for each in _own_fields() if each.metadata["name"] in own}
        if path := values.get("token_file"):
            if values.get("token"):
                raise ConfigError("OSQUEUE_TOKEN and OSQUEUE_TOKEN_FILE: set one of them")
            values["token"] = _token_in(path)
        settings = cls(**values, store=own, limits=replace(DEFAULT_LIMITS, **changed))
        for name in idle_settings(given, settings.backend):
            log.warning("the setting %s has no effect with STORAGE_BACKEND=%s", name, settings.backend.name)
        return settings

    @property
    def asks_for_a_token(self) -> bool:
        """Whether callers must show one."""
        return bool(self.token or self.access_file or self.issuers_file)

    @property
    def backend(self) -> Backend:
        """The store that was chosen."""
        return backend_named(self.storage_backend)

    def retention_ms(self, *, shared: bool) -> int:
        """How long superseded checkpoints and their log are kept in a store that machines share, or do not (ms)."""
        if self.log_retention_ms is not None:
            return self.log_retention_ms
        return BUCKET_RETENTION_MS if shared else 0

    def addresses(self, grpc_port: int, *, shared: bool, outward: Callable[[], str] = outward_host) -> tuple[str, str]:
        """Where others reach this broker, over HTTP and over gRPC, given the port that it listens on. Where the host
        does not say it and machines share the store (`shared`), it is this machine's `outward` address. Without a port
        for HTTP there is but one."""
        host = self.host
        if host in _WILDCARDS:
            host = (outward() if shared else "") or "127.0.0.1"
        host = f"[{host}]" if ":" in host else host
        grpc = self.advertise_address or f"{host}:{grpc_port}"
        return self.http_address or (f"{host}:{self.http_port}" if self.http_port else grpc), grpc

    def guessed_addresses(self, *, shared: bool) -> list[str]:
        """Names of the settings that are not set although others depend on what they say."""
        if not shared or self.host not in _WILDCARDS:
            return []
        said = {"BROKER_ADVERTISE_ADDRESS": self.advertise_address, "BROKER_HTTP_ADDRESS": self.http_address}
        return [name for name, value in said.items() if not value]


def _token_in(path: str) -> str:
    try:
        token = setting.token(Path(path).read_text().strip())
    except (OSError, ValueError) as error:
        raise ConfigError(f"OSQUEUE_TOKEN_FILE: {path}: {error}") from None
    if not token:
        raise ConfigError(f"OSQUEUE_TOKEN_FILE: {path} is empty; it must hold the token")
    return token


def _own_fields() -> list["Field[Any]"]:
    return [each for each in fields(Settings) if "parse" in each.metadata]


def known_settings() -> dict[str, Setting]:
    """Everything that can be said in the environment or by a flag, by its name in the environment; the limits apart."""
    settings: dict[str, Setting] = {}
    for each in _own_fields():
        name = each.metadata["name"]
        flag = each.metadata["flag"] or each.name.replace("_", "-")
        settings[name] = Setting(**{**each.metadata, "flag": flag}, default=each.default)
        if each.name == "storage_backend":
            settings |= {own.name: own for backend in BACKENDS.values() for own in backend.settings}
    return settings


def idle_settings(given: Collection[str], backend: Backend) -> list[str]:
    """The names among those given of settings that mean nothing where the queue is kept in this backend."""
    idle = {each.name for other in BACKENDS.values() for each in other.settings}
    idle.difference_update(each.name for each in backend.settings)
    if not backend.shared:
        idle.add("BROKER_WARM_STANDBY")
    if not backend.lasting:
        idle.add("LOG_RETENTION")
    return sorted(idle.intersection(given))


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
