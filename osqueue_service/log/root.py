"""`queue.json`, the root: who leads, and which checkpoint is vouched for.

It has the seed's own fields `broker`, `brokerHeartbeat` and `completedTotal`, so that clients of the seed
find the leader, and people can read it; and no `jobs`, so that a broker of the seed cannot take it for a
queue of its own. Every body carries a fresh nonce: on S3 a body written twice has one ETag, and a standby
would take its leader for dead.

Its last field is a seal, the SHA-256 of all bytes before: all that a recovery rests on hangs on this one
object that changes. In every format from 2 on the seal is there, and the fields `format`, `release` and
`needs` mean what they mean here, so that what a later release wrote is told from damage.
"""

import hashlib
import re
from collections.abc import Set
from typing import Literal

import msgspec

from osqueue_service.errors import CorruptObject, WrittenByNewer
from osqueue_service.log.paths import ROOT
from osqueue_service.release import RELEASE

ROOT_FORMAT = 2
CONTENT_FORMAT = 2
"""Of the state in a checkpoint and of the records behind it."""
_FORMAT_BEFORE = 1

INLINE_BYTES_MAX = 256 * 1024
"""Largest checkpoint, in bytes of JSON, that lies in the root itself. Every renewal writes it again."""


class CheckpointRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The checkpoint that a root vouches for: the state after `sequence` of the lane of `epoch`.

    `form` says where that state is:
    - "empty": nowhere, it is the state of a new queue;
    - "seed": the root's `adopted` and `completedTotal`, as the seed's broker left them;
    - "inline": the root's `state`;
    - "objects": `parts` objects below `checkpoints/{sequence}-{epoch}/`.

    `size` and `sha256` are of the state's stored bytes, of all parts together. `hash`
    is the chain hash of the object at (`epoch`, `sequence`). `format` is that of the state in it.
    """

    sequence: int
    epoch: int
    hash: str
    form: Literal["empty", "seed", "inline", "objects"]
    parts: int = 0
    size: int = 0
    sha256: str = ""
    format: int = _FORMAT_BEFORE


GENESIS_CHECKPOINT = CheckpointRef(sequence=0, epoch=0, hash=bytes(32).hex(), form="empty", format=CONTENT_FORMAT)


class NamedQueue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the root of a queue with a name says of it. The default queue has none of it."""

    name: str
    created_at: int
    """Wall clock of its creator, in milliseconds."""
    description: str = ""
    """For people."""
    max_jobs: int = 0
    """How many live jobs it may hold; 0: as many as any queue."""
    deleted: bool = False
    """It is gone, and what is left of its data goes."""


class Root(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of a root. `broker` is None while nobody leads; addresses are what others dial.

    `needs` are the features that the stored data uses, sorted, and `release` is the one that wrote this. `uid`,
    `member` and `queue` are those of a queue with a name: the one below which its data lies, the incarnation of the
    broker that leads it, and its settings. `fleet` is not used yet.
    """

    format: int = ROOT_FORMAT
    release: str = RELEASE
    needs: tuple[str, ...] = ()
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
    adopted: list[msgspec.Raw] | None = None
    """The jobs of a seed's queue, as they stood in its file, where `form` is "seed"."""
    uid: str | None = None
    member: str | None = None
    fleet: str | None = None
    queue: NamedQueue | msgspec.UnsetType = msgspec.UNSET

    def encode(self) -> bytes:
        """The sealed body."""
        sealed = msgspec.json.encode(self)[:-1]
        return b"".join((sealed, _SEAL_BEGINS, hashlib.sha256(sealed).hexdigest().encode(), _SEAL_ENDS))

    def require(self, understood: Set[str]) -> None:
        """Raise `WrittenByNewer` if the queue needs a feature that is not among those understood."""
        unknown = [name for name in self.needs if name not in understood]
        if unknown:
            raise WrittenByNewer(ROOT, f"uses {' and '.join(map(repr, unknown))}", release=self.release)

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


class _RootBefore(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A root of the first format. The first leader of a later release writes it anew."""

    format: int
    nonce: str
    epoch: int
    incarnation: str
    broker: str | None
    grpc_address: str | None
    broker_heartbeat: int
    checkpoint: CheckpointRef
    completed_total: int = 0
    state: bytes | None = None
    jobs: list[msgspec.Raw] = msgspec.field(default_factory=list)

    def renewed(self) -> Root:
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "jobs"}
        return Root(**fields, release="", adopted=self.jobs if self.checkpoint.form == "seed" else None)


class _Head(msgspec.Struct):
    """What every format has."""

    format: int | None = None
    release: str = ""
    needs: tuple[str, ...] = ()


_SEAL_BEGINS = b',"seal":"'
_SEAL_ENDS = b'"}'
_SEAL = re.compile(rb',"seal":"([0-9a-f]{64})"}')
_SEAL_BYTES = len(_SEAL_BEGINS) + 64 + len(_SEAL_ENDS)

_FAULTS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError)

_WAY_OUT = (
    "restore it from a copy or an earlier version of this object, and run `osqueue verify` before starting a broker"
)


def decode_root(body: bytes) -> Root | SeedQueue:
    """What `queue.json` says; `CorruptObject` when it is damaged, `WrittenByNewer` when a later release wrote it."""
    seal = _SEAL.fullmatch(body, max(0, len(body) - _SEAL_BYTES))
    if seal is None:
        return _decode_unsealed(body)
    content = body[: seal.start()]
    if hashlib.sha256(content).hexdigest().encode() != seal[1]:
        raise CorruptObject(ROOT, f"its seal does not match its content, so something in it was changed: {_WAY_OUT}")
    content += b"}"
    head = _Head()
    try:
        head = msgspec.json.decode(content, type=_Head)
        if head.format == ROOT_FORMAT:
            return _checked(msgspec.json.decode(content, type=Root))
    except _FAULTS as error:
        # The seal says that some release wrote just this.
        raise WrittenByNewer(ROOT, f"holds what cannot be read here ({error})", release=head.release) from None
    needs = f" and uses {', '.join(map(repr, head.needs))}" if head.needs else ""
    raise WrittenByNewer(ROOT, f"has format {head.format}{needs}", release=head.release)


def _decode_unsealed(body: bytes) -> Root | SeedQueue:
    """A root of the first format, or the seed's queue: neither has a seal."""
    try:
        version = msgspec.json.decode(body, type=_Head).format
        if version is None:
            return msgspec.json.decode(body, type=SeedQueue)
        if version == _FORMAT_BEFORE:
            return _checked(msgspec.json.decode(body, type=_RootBefore).renewed())
    except _FAULTS as error:
        raise CorruptObject(
            ROOT, f"it is neither a root of this queue nor one of the seed's: {error}; {_WAY_OUT}"
        ) from None
    raise CorruptObject(ROOT, f"the seal at its end is missing or damaged: {_WAY_OUT}")


def _checked(root: Root) -> Root:
    """What types cannot say."""
    checkpoint = root.checkpoint
    inline = checkpoint.form == "inline"
    if root.epoch < 1 or not 0 <= checkpoint.epoch <= root.epoch or checkpoint.sequence < 0:
        raise CorruptObject(ROOT, f"its epoch and its checkpoint contradict each other: {_WAY_OUT}")
    if (
        inline != (root.state is not None)
        or (checkpoint.form == "objects") != (checkpoint.parts > 0)
        or (checkpoint.form == "seed") != (root.adopted is not None)
    ):
        raise CorruptObject(ROOT, f"its checkpoint is said to be {checkpoint.form}, and is not: {_WAY_OUT}")
    try:
        length = len(bytes.fromhex(checkpoint.hash))
    except ValueError:
        length = 0
    if length != 32:
        raise CorruptObject(ROOT, f"the hash in its checkpoint is not 32 bytes of hex: {_WAY_OUT}")
    return root
