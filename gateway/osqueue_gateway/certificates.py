"""The gateway's certificate, read again when its files change: connections made from then on see the new one."""

import asyncio
import logging
import ssl
from pathlib import Path

from osqueue.errors import ConfigError

log = logging.getLogger("osqueue.gateway")

LOOK_S = 1.0
"""How often the files are looked at."""


class Certificate:
    """A certificate chain with its key, both PEM."""

    def __init__(self, cert_file: str, key_file: str) -> None:
        """Raises `ConfigError` naming the files when they cannot be taken."""
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._files = Path(cert_file), Path(key_file)
        self._watching: asyncio.Task[None] | None = None
        self._stamp = self._look()
        self._load(self.context)

    def watch(self) -> None:
        """Look at the files from now on."""
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    def stop(self) -> None:
        """Look at nothing any more."""
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            self.refresh()

    def refresh(self) -> None:
        """Read the files if they have changed. What cannot be taken is logged, once, and the one before goes on."""
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._load(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))  # half of a pair must not reach callers
            self._load(self.context)
        except ConfigError as error:
            log.error("%s; going on with the certificate that was there before", error)
        else:
            log.info("serving with the new certificate in %s", self._files[0])

    def _look(self) -> tuple[tuple[int, int], ...]:
        try:
            return tuple((path.stat().st_mtime_ns, path.stat().st_size) for path in self._files)
        except OSError as error:
            raise ConfigError(f"OSQUEUE_HTTP_TLS_CERT_FILE, OSQUEUE_HTTP_TLS_KEY_FILE: {error}") from None

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(*self._files)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(
                f"OSQUEUE_HTTP_TLS_CERT_FILE, OSQUEUE_HTTP_TLS_KEY_FILE: {self._files[0]} and {self._files[1]} are not "
                f"a certificate and its key: {error}"
            ) from None
