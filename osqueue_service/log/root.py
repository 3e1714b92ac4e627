"""`queue.json`, the root: who leads, and which checkpoint is vouched for.

It begins with the fields of the seed's own `queue.json`, so that clients of the seed
find the leader, and people can read it. Every body carries a fresh nonce: on S3 a body
written twice has one ETag, and a standby would take its leader for dead.
"""

from typing import Literal

import msgspec

from osqueue_service.errors import CorruptObject
from osqueue_service.log.paths import ROOT

ROOT_FORMAT = 1

INLINE_BYTES_MAX = 256 * 1024
"""Largest checkpoint, in bytes of JSON, that lies in the root itself. Every renewal writes it again."""


class CheckpointRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The checkpoint that a root vouches for: the state after `sequence` of the lane of `epoch`.

    `form` says where that state is:
    - "empty": nowhere, it is the state of a new queue;
    - "seed": `jobs` and `completedTotal`, as the seed's broker left them;
    - "inline": the root's `state`;
    - "objects": `parts` objects below `checkpoints/{sequence}-{epoch}/`.

    `size` and `sha256` are of the state's stored bytes, of all parts together. `hash`
    is the chain hash of the object at (`epoch`, `sequence`).
    """

    sequence: int
    epoch: int
    hash: str
    form: Literal["empty", "seed", "inline", "objects"]
    parts: int = 0
    size: int = 0
    sha256: str = ""


GENESIS_CHECKPOINT = CheckpointRef(sequence=0, epoch=0, hash=bytes(32).hex(), form="empty")


class Root(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `queue.json`. `broker` is None while nobody leads; addresses are what others dial."""

    format: int = ROOT_FORMAT
    nonce: str
    epoch: int
    incarnation: str
    broker: str | None
    grpc_address: str | None
    broker_heartbeat: int
    """Wall clock of the last write in milliseconds. For display only."""
    checkpoint: CheckpointRef
    completed_total: int = 0
    state: bytes | None = None
    jobs: list[msgspec.Raw] = msgspec.field(default_factory=list)
    """In the seed's shape: a view of an inline checkpoint, and the state itself where `form` is "seed"."""

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    def is_of(self, epoch: int, incarnation: str) -> bool:
        return self.epoch == epoch and self.incarnation == incarnation

    @property
    def leader(self) -> str:
        """The best address known for the leader, or ""."""
        return self.grpc_address or self.broker or ""


class SeedQueue(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A `queue.json` written by the seed's own broker. Its jobs are kept as the JSON text they are."""

    jobs: list[msgspec.Raw]
    broker: str | None = None
    broker_heartbeat: int | None = None
    completed_total: int = 0

    @property
    def leader(self) -> str:
        return self.broker or ""


class _Format(msgspec.Struct):
    format: int | None = None


def decode_root(body: bytes) -> Root | SeedQueue:
    """What `queue.json` says; `CorruptObject` when it cannot be understood."""
    try:
        version = msgspec.json.decode(body, type=_Format).format
        if version is None:
            return msgspec.json.decode(body, type=SeedQueue)
        if version == ROOT_FORMAT:
            return _checked(msgspec.json.decode(body, type=Root))
    except msgspec.MsgspecError as error:
        raise CorruptObject(ROOT, f"it is neither a root of this queue nor one of the seed's: {error}") from None
    raise CorruptObject(
        ROOT, f"it has format {version}, and this broker reads format {ROOT_FORMAT}: use a broker of that release"
    )


def _checked(root: Root) -> Root:
    """What types cannot say."""
    checkpoint = root.checkpoint
    inline = checkpoint.form == "inline"
    if root.epoch < 1 or not 0 <= checkpoint.epoch <= root.epoch or checkpoint.sequence < 0:
        raise CorruptObject(ROOT, "its epoch and its checkpoint contradict each other")
    if inline != (root.state is not None) or (checkpoint.form == "objects") != (checkpoint.parts > 0):
        raise CorruptObject(ROOT, f"its checkpoint is said to be {checkpoint.form}, and is not")
    try:
        length = len(bytes.fromhex(checkpoint.hash))
    except ValueError:
        length = 0
    if length != 32:
        raise CorruptObject(ROOT, "the hash in its checkpoint is not 32 bytes of hex")
    return root
