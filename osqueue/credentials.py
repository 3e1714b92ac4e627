"""What a client shows, and whom it trusts: its token, wherever that comes from, and certificates."""

import asyncio
import contextlib
import inspect
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from osqueue.errors import AuthError, ConfigError, OsqueueError, StorageBackendError

if TYPE_CHECKING:
    import grpc

TokenProvider = Callable[[], str | Awaitable[str]]
"""Gives the token to show, such as one that an identity provider has just issued. It may be a coroutine function."""

LOOK_S = 1.0
"""How often a token file is looked at."""

KEEP_S = 10.0
"""How long what a provider gave is used before it is asked again; at once after a refusal."""


@dataclass(slots=True, frozen=True)
class Tls:
    """Files in PEM: the authorities to trust instead of the system's, and the client's own certificate with its key.
    They are read whenever a connection is opened."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    def __post_init__(self) -> None:
        if bool(self.cert_file) != bool(self.key_file):
            raise ConfigError("tls_cert_file and tls_key_file: give both, or neither")
        for path in (self.ca_file, self.cert_file, self.key_file):
            _read(path)

    @property
    def is_set(self) -> bool:
        """Whether it says anything."""
        return self != Tls()

    def channel_credentials(self) -> "grpc.ChannelCredentials":
        """For gRPC."""
        import grpc

        return grpc.ssl_channel_credentials(
            _read(self.ca_file) or None, _read(self.key_file) or None, _read(self.cert_file) or None
        )

    def context(self) -> ssl.SSLContext:
        """For HTTP."""
        context = ssl.create_default_context(cafile=self.ca_file or None)
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context


class Credentials:
    """A client's token and certificates."""

    def __init__(self, token: str | TokenProvider = "", token_file: str = "", tls: Tls | None = None) -> None:
        if token_file and token:
            raise ConfigError("token and token_file: give one of them")
        self.tls = tls or Tls()
        self._token = token if isinstance(token, str) else ""
        self._provider = None if isinstance(token, str) else token
        self._file = Path(token_file) if token_file else None
        self._looked_at = float("-inf")
        self._asking: asyncio.Task[str] | None = None
        if self._file is not None:
            self._token = self._in_file()

    @classmethod
    def of(cls, token: "str | Credentials") -> "Credentials":
        """A token alone, or what is credentials already."""
        return token if isinstance(token, Credentials) else cls(token)

    @property
    def fixed(self) -> str | None:
        """The token, if it is the same for ever."""
        return self._token if self._provider is None and self._file is None else None

    def told(self) -> dict[str, str] | None:
        """How another process has the same; None when it cannot."""
        if self._provider is not None:
            return None
        files = {"ca_file": self.tls.ca_file, "cert_file": self.tls.cert_file, "key_file": self.tls.key_file}
        return {"token": "", "token_file": str(self._file)} | files if self._file else {"token": self._token} | files

    async def token(self) -> str:
        """The token to show now; `AuthError` when the provider gives none."""
        age_s = time.monotonic() - self._looked_at
        if self._file is not None and age_s >= LOOK_S:
            self._looked_at = time.monotonic()
            with contextlib.suppress(ConfigError):  # it is being replaced: what was there before goes on
                self._token = self._in_file()
        elif self._provider is not None and age_s >= KEEP_S:
            asking = self._asking
            if asking is None or asking.done() or asking.get_loop() is not asyncio.get_running_loop():
                asking = self._asking = asyncio.ensure_future(self._ask())
            return await asyncio.shield(asking)
        return self._token

    async def after(self, error: OsqueueError, shown: str) -> OsqueueError:
        """What a refusal means: where another token is at hand than the one that was `shown`, nothing that is final."""
        if not isinstance(error, AuthError) or error.reason == "PERMISSION_DENIED" or self.fixed is not None:
            return error
        self._looked_at = float("-inf")
        if await self.token() == shown:
            return error
        return StorageBackendError("the token that was shown is over, and another one is at hand", retry_after_ms=0)

    def _in_file(self) -> str:
        token = _read(str(self._file)).decode(errors="replace").strip()
        if not token.isprintable() or not token:
            raise ConfigError(f"token_file: {self._file} must hold a token, and nothing else")
        return token

    async def _ask(self) -> str:
        assert self._provider is not None
        try:
            given = self._provider()
            token = await given if inspect.isawaitable(given) else given
        except Exception as error:
            raise AuthError(f"the token provider failed: {type(error).__name__}: {error}") from error
        if not isinstance(token, str) or not token.isprintable() or not token:
            raise AuthError(f"the token provider must give a token, and gave {type(token).__name__}")
        self._token, self._looked_at = token, time.monotonic()
        return token


def tls_of(environment: Mapping[str, str]) -> Tls:
    """What OSQUEUE_TLS_CA_FILE and its like say."""
    names = ("OSQUEUE_TLS_CA_FILE", "OSQUEUE_TLS_CLIENT_CERT_FILE", "OSQUEUE_TLS_CLIENT_KEY_FILE")
    return Tls(*(environment.get(name, "") for name in names))


def _read(path: str) -> bytes:
    if not path:
        return b""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
