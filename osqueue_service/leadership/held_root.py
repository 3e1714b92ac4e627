"""The root as its leader holds it."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from osqueue_service.errors import CorruptObject, Deposed, StoreRefused, StoreUnavailable, StoreUnknown
from osqueue_service.log import Root, SeedQueue, Settler, decode_root
from osqueue_service.log.paths import ROOT
from osqueue_service.storage.store import StoredObject

SENT_MAX = 1_024
"""How many bodies of the root a leader knows to be its own, the last it sent. No read outlasts this many swaps."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """How leadership shows that it lives. All by monotonic clocks.

    A leader renews the root every `interval_ms`; a standby looks every `poll_ms` and
    takes a leader for dead that has not for `timeout_ms`.
    """

    interval_ms: float = 3_000
    timeout_ms: float = 10_000
    poll_ms: float = 500

    def __post_init__(self) -> None:
        if not 0 < self.interval_ms < self.timeout_ms:
            raise ValueError(
                f"the heartbeat interval ({self.interval_ms} ms) must be below the timeout ({self.timeout_ms} ms)"
            )

    @property
    def lease_ms(self) -> float:
        """How long after sending a renewal its leader counts on it. A tenth is left for clocks that run unevenly."""
        return self.timeout_ms * 0.9


class HeldRoot:
    """The root since this incarnation took it.

    Every write is a swap on the version last read as mine, one at a time. A swap that is
    refused or unanswered is settled by reading: bytes that this incarnation has sent, and what is
    there is adopted; another's epoch or incarnation is `Deposed`. Our own names on bytes that we never
    sent prove nothing, because whoever reads and writes the object carries them along: that is another
    program at work, and ends the term.
    """

    def __init__(self, settler: Settler, heartbeat: Heartbeat, root: Root, version: str, sent_ms: float) -> None:
        self.root = root
        """As last known to be mine."""
        self.lease_until_ms = sent_ms + heartbeat.lease_ms
        """Until then, by the monotonic clock, no standby can have seen this leader's silence for a full timeout."""
        self.lapses = 0
        """How often a renewal came after that moment: nobody had taken over, but somebody could have."""
        self._settler = settler
        self._heartbeat = heartbeat
        self._version = version
        self._swapping = asyncio.Lock()
        self._sent: dict[bytes, None] = {}
        self._note_sent(root.encode())

    async def swap(self, change: Callable[[Root], Root]) -> None:
        """Write `change` of the root as it is, with a fresh nonce, until the root is known to hold it."""
        settler = self._settler
        async with self._swapping:
            backoff = settler.backoff()
            sent_at: dict[str, float] = {}
            while True:
                root = msgspec.structs.replace(
                    change(self.root), nonce=settler.ids.nonce(), broker_heartbeat=settler.clock.wall_ms()
                )
                sent_ms = sent_at[root.nonce] = settler.clock.monotonic_ms()
                body = root.encode()
                self._note_sent(body)
                try:
                    version = await settler.store.put_if_version(ROOT, body, self._version)
                except StoreUnavailable as refusal:
                    del sent_at[root.nonce]
                    settler.counters.unavailable += 1
                    await backoff.pause(refusal.retry_after_ms)
                    continue
                except (StoreRefused, StoreUnknown):
                    settler.counters.root_swaps_unsettled += 1
                    self.root, self._version = await self._read_mine()
                    if self.root.nonce not in sent_at:
                        # Not applied yet, or another write of ours was before it: once more, on what is there.
                        await backoff.pause()
                        continue
                    sent_ms = sent_at[self.root.nonce]
                else:
                    self.root, self._version = root, version
                settler.counters.root_swaps += 1
                if settler.clock.monotonic_ms() >= self.lease_until_ms:
                    self.lapses += 1
                self.lease_until_ms = max(self.lease_until_ms, sent_ms + self._heartbeat.lease_ms)
                return

    async def confirm(self) -> Root:
        """Read the root, with a read sent after this call: the root if it is mine, else `Deposed`.

        This does not lengthen the lease: a standby counts from the last write, not from our reads.
        """
        root, _ = await self._read_mine()
        return root

    async def _read_mine(self) -> tuple[Root, str]:
        return self.mine(await self._settler.read(ROOT))

    def mine(self, found: StoredObject | None) -> tuple[Root, str]:
        """What was read as the root, and its version, if it is still this incarnation's."""
        if found is None:
            raise CorruptObject(
                ROOT, "it was deleted while this broker led: restore it from a copy or an earlier version"
            )
        root = decode_root(found.body)
        if isinstance(root, SeedQueue):
            raise CorruptObject(ROOT, "it was overwritten by a broker that does not know this format: stop that broker")
        if root.epoch == self.root.epoch and root.incarnation != self.root.incarnation:
            raise CorruptObject(
                ROOT,
                f"the store let two brokers take epoch {root.epoch}, so it does not honour If-Match in a race and "
                "cannot hold a queue: stop all brokers, and use another store (or a newer version of it)",
            )
        if not root.is_of(self.root.epoch, self.root.incarnation):
            raise Deposed(f"epoch {root.epoch} holds the root", epoch=root.epoch, leader=root.leader)
        if _digest(found.body) not in self._sent:
            raise CorruptObject(
                ROOT,
                "it was written over by another program, or set back to an earlier version, while this broker led: "
                "stop that program, restore the newest version, and run `osqueue verify`",
            )
        return root, found.version

    def _note_sent(self, body: bytes) -> None:
        self._sent[_digest(body)] = None
        if len(self._sent) > SENT_MAX:
            del self._sent[next(iter(self._sent))]


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
