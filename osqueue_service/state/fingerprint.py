"""What makes two submissions the same: 16 bytes of BLAKE2b over type and payload."""

from collections.abc import Sequence
from hashlib import blake2b

from osqueue_service.state.model import JobSpec


def of_job(spec: JobSpec) -> bytes:
    """Equal for two jobs that one idempotency key may stand for."""
    digest = blake2b(spec.type.encode() + b"\0", digest_size=16)
    digest.update(spec.payload)
    return digest.digest()


def of_call(specs: Sequence[JobSpec]) -> bytes:
    """Equal for two executions of one call: same types, same payloads, same order."""
    parts = [f"{spec.type}\0{len(spec.payload)}\0".encode() + spec.payload for spec in specs]
    return blake2b(b"".join(parts), digest_size=16).digest()
