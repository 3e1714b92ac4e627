"""The certificates of a broker, read again when their files change: connections made from then on see the new ones."""

import logging
import ssl
from pathlib import Path
from typing import Any, cast

import grpc

from osqueue_service.errors import ConfigError

log = logging.getLogger(__name__)


class Certificates:
    """Its own certificate with the key, the authority that callers' certificates must come from, and the one that those
    of other brokers do. The names in front of the paths are those of the settings, for messages."""

    def __init__(self, cert_file: str, key_file: str, client_ca_file: str = "", ca_file: str = "") -> None:
        """Raises `ConfigError` naming the file that cannot be taken."""
        self._cert_file, self._key_file = cert_file, key_file
        self._client_ca_file, self._ca_file = client_ca_file, ca_file
        self._complained = ""
        self._stamp = self._look()
        self._served = self._read()

    @property
    def asks(self) -> bool:
        """Whether callers must show a certificate."""
        return bool(self._client_ca_file)

    def server_credentials(self) -> grpc.ServerCredentials:
        """For the port. Callers must show a certificate where there is an authority for those."""
        return grpc.dynamic_ssl_server_credentials(
            self._served, cast(Any, self._changed), require_client_authentication=bool(self._client_ca_file)
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """For calls to other brokers, which may ask for a certificate as well: it is this broker's own."""
        shown = (_pem("OSQUEUE_TLS_KEY_FILE", self._key_file), _pem("OSQUEUE_TLS_CERT_FILE", self._cert_file))
        trusted = _pem("OSQUEUE_TLS_CA_FILE", self._ca_file) if self._ca_file else None
        return grpc.ssl_channel_credentials(trusted, *(shown if self._client_ca_file else (None, None)))

    def _changed(self) -> "grpc.ServerCertificateConfiguration | None":
        """What to serve a new connection with; None: what the one before was. Called by threads of gRPC's own."""
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return None
            self._served, self._stamp = self._read(), stamp
        except (ConfigError, OSError) as error:
            if str(error) != self._complained:
                log.error("%s; going on with the certificate that was there before", error)
            self._complained = str(error)
            return None
        self._complained = ""
        log.info("serving with the new certificate in %s", self._cert_file)
        return self._served

    def _look(self) -> tuple[tuple[int, int], ...]:
        paths = [Path(path) for path in (self._cert_file, self._key_file, self._client_ca_file) if path]
        return tuple((path.stat().st_mtime_ns, path.stat().st_size) for path in paths if path.exists())

    def _read(self) -> "grpc.ServerCertificateConfiguration":
        chain = _pem("OSQUEUE_TLS_CERT_FILE", self._cert_file)
        key = _pem("OSQUEUE_TLS_KEY_FILE", self._key_file)
        authority = None
        if self._client_ca_file:
            authority = _pem("OSQUEUE_TLS_CLIENT_CA_FILE", self._client_ca_file)
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(self._cert_file, self._key_file)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(
                f"OSQUEUE_TLS_CERT_FILE, OSQUEUE_TLS_KEY_FILE: {self._cert_file} and {self._key_file} do not belong "
                f"together: {error}"
            ) from None
        return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=authority)


def _pem(name: str, path: str) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{name}: {path} cannot be read: {error.strerror}") from error
    if b"-----BEGIN " not in content:
        raise ConfigError(f"{name}: {path} is not a PEM file")
    return content
