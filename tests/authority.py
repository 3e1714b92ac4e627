"""Certificates of tests, made by the openssl program as an operator makes them."""

import subprocess
from pathlib import Path


class Authority:
    """An authority in a directory, and the certificates that it signs: files `NAME.crt` and `NAME.key` there."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self.directory = directory
        self.name = name
        self.file = directory / f"{name}.crt"
        key = self._key(name)
        _openssl("req", "-x509", "-new", "-key", key, "-out", self.file, "-days", 30, "-subj", f"/CN={name}")

    def sign(self, name: str, names: str = "DNS:localhost,IP:127.0.0.1") -> tuple[str, str]:
        """The paths of a new certificate for these alternative names, and of its key."""
        key, request = self._key(name), self.directory / f"{name}.csr"
        certificate, extensions = self.directory / f"{name}.crt", self.directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\n")
        _openssl("req", "-new", "-key", key, "-out", request, "-subj", f"/CN={name}")
        signing = ("-CA", self.file, "-CAkey", self.directory / f"{self.name}.key", "-CAcreateserial", "-days", 30)
        _openssl("x509", "-req", "-in", request, "-out", certificate, "-extfile", extensions, *signing)
        return str(certificate), str(key)

    def _key(self, name: str) -> Path:
        path = self.directory / f"{name}.key"
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
        return path


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
