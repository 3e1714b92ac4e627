"""Payloads and results that only those can read who have the key."""

import binascii
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from osqueue.codecs.envelope import About, Envelope, header
from osqueue.errors import CodecError, ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16


class Encryption:
    """AES-256-GCM. `keys` are 32 bytes each, or their base64, by an id of your choice that everybody may see; `current`
    is the id of the one that encrypts (with a single key: that one). All of them decrypt.

    To rotate: give every client the new key, then make it `current`, and take the old one away once no job of it is
    kept any more. Encrypted bytes cannot be passed off as another type's payload or another job's result. What is
    longer is longer encrypted, and a payload that is submitted again with the same idempotency key can be seen to be
    the same. `required` refuses whatever came unencrypted.
    """

    name = "aes256gcm"

    def __init__(self, keys: Mapping[str, bytes | str], current: str = "", *, required: bool = False) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise ConfigError("encryption needs another package: pip install 'osqueue[encryption]'") from error
        if not keys:
            raise ConfigError("keys: is empty; encryption takes at least one key")
        if not current and len(keys) > 1:
            raise ConfigError(f"current: is required with several keys; it is one of {', '.join(sorted(keys))}")
        if current and current not in keys:
            raise ConfigError(f"current: there is no key {current!r}; there are: {', '.join(sorted(keys))}")
        self.required = required
        self._current = current or next(iter(keys))
        self._mismatch: Any = InvalidTag
        self._keys = {key_id: _Key(key_id, _raw(key_id, key), AESGCM) for key_id, key in keys.items()}

    def __repr__(self) -> str:
        return f"Encryption(keys={sorted(self._keys)}, current={self._current!r})"

    def encode(self, data: bytes, about: About) -> Envelope:
        """The bytes encrypted with the current key, for this use alone."""
        key = self._keys[self._current]
        said = self._said(key.id, about)
        nonce = key.nonce(said, about.repeat, data)
        return Envelope(self.name, key.id, nonce + key.cipher.encrypt(nonce, data, said))

    def decode(self, envelope: Envelope, about: About) -> bytes:
        """The bytes that were encrypted. `CodecError` without the key, and for what was changed or has another use."""
        key = self._keys.get(envelope.key)
        if key is None:
            have = ", ".join(map(repr, sorted(self._keys)))
            raise CodecError(
                f"is encrypted with the key {envelope.key!r}, which this client does not have: it has {have}"
            )
        nonce, body = envelope.body[:NONCE_BYTES], envelope.body[NONCE_BYTES:]
        if len(body) < TAG_BYTES:
            raise CodecError(f"is encrypted with the key {envelope.key!r}, but cut short")
        try:
            return key.cipher.decrypt(nonce, body, self._said(key.id, about))
        except self._mismatch as error:
            raise CodecError(
                f"is not what the key {envelope.key!r} of this client encrypted as the {about.kind} of {about.name!r}: "
                "the key is another one of the same id, or the bytes were changed or moved here from another job"
            ) from error

    def _said(self, key_id: str, about: About) -> bytes:
        """What is not encrypted, but cannot be changed either."""
        return header(self.name, key_id) + f"{about.kind}\0{about.name}".encode()


class _Key:
    """One key, and what is derived of it."""

    __slots__ = ("_nonces", "cipher", "id")

    def __init__(self, key_id: str, secret: bytes, cipher: "type[AESGCM]") -> None:
        import hmac

        self.id = key_id
        self.cipher = cipher(hmac.digest(secret, b"osqueue: payloads", hashlib.sha256))
        self._nonces = hmac.new(hmac.digest(secret, b"osqueue: nonces", hashlib.sha256), digestmod=hashlib.sha256)

    def nonce(self, said: bytes, repeat: str, data: bytes) -> bytes:
        """Never the same for two different messages. It is drawn from the message itself, so that the repetition of a
        call is the same call to the broker."""
        drawn = self._nonces.copy()
        for part in (said, repeat.encode(), data):
            drawn.update(len(part).to_bytes(8, "big"))
            drawn.update(part)
        return drawn.digest()[:NONCE_BYTES]


def _raw(key_id: str, key: bytes | str) -> bytes:
    if not isinstance(key_id, str) or not key_id or not key_id.isprintable() or len(key_id) > 64:
        raise ConfigError(f"keys: the id {key_id!r} must be text of 1 to 64 printable characters")
    try:
        raw = binascii.a2b_base64(key, strict_mode=True) if isinstance(key, str) else bytes(key)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"keys[{key_id!r}]: is not base64") from error
    if len(raw) != KEY_BYTES:
        raise ConfigError(f"keys[{key_id!r}]: has {len(raw)} bytes, must have {KEY_BYTES}: openssl rand -base64 32")
    return raw
