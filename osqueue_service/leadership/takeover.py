"""One candidacy: from the swap of the root to a confirmed fence, or back to standing by."""

import asyncio
from dataclasses import dataclass

import msgspec

from osqueue_service.errors import (
    CorruptObject,
    Deposed,
    StoreRefused,
    StoreUnavailable,
    StoreUnknown,
    WrittenByNewer,
)
from osqueue_service.leadership.following import Follower
from osqueue_service.leadership.held_root import Heartbeat, HeldRoot
from osqueue_service.leadership.lease import Lease, LentLease, Tenure
from osqueue_service.leadership.renewal import Renewal
from osqueue_service.leadership.watch import Vacancy
from osqueue_service.log import (
    CheckpointRef,
    Fence,
    Position,
    Replay,
    Replayer,
    Root,
    SeedQueue,
    Settler,
    apply_segment,
    decode_root,
    load_state,
)
from osqueue_service.log.paths import ROOT
from osqueue_service.log.root import GENESIS_CHECKPOINT, ROOT_FORMAT
from osqueue_service.release import RELEASE


@dataclass(frozen=True, slots=True)
class Addresses:
    """What others dial: clients of the seed the first, everyone else the second."""

    broker: str
    grpc: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a takeover read: the log behind `checkpoint`, or behind `followed`, up to the own fence."""

    checkpoint: CheckpointRef
    fence: Position
    followed: int
    """How far the log had been followed while standing by; 0: not at all, it began with the checkpoint."""
    segments: int
    """Read by the takeover itself."""
    fences: int

    @property
    def adopted(self) -> bool:
        """Whether the state was made from a seed's queue. A checkpoint is due: the root carries the jobs until then."""
        return self.checkpoint.form == "seed"


@dataclass(frozen=True, slots=True)
class Victory:
    """A candidacy that may serve: the root is mine, and the log before the fence is in the replayer."""

    held: HeldRoot
    tenure: Tenure
    lease: Lease
    recovered: Recovered


class Takeover:
    """A candidacy. Each one has an incarnation of its own: a broker that stepped down never resumes an epoch."""

    def __init__(
        self,
        settler: Settler,
        heartbeat: Heartbeat,
        addresses: Addresses,
        replayer: Replayer,
        follower: Follower,
        *,
        lent: LentLease | None = None,
    ) -> None:
        """`lent`: the lease of a term that this one hangs on, so that its own root need not be renewed."""
        self._settler = settler
        self._lent = lent
        self._heartbeat = heartbeat
        self._addresses = addresses
        self._replayer = replayer
        self._follower = follower
        self._incarnation = settler.ids.incarnation()
        self._before: str | None = None
        """The release that wrote the root before this candidacy."""

    async def run(self, vacancy: Vacancy) -> Victory:
        """Take the root, rebuild the state, fence the log. Raises `Deposed` when another was faster."""
        if isinstance(vacancy.root, SeedQueue):
            self._try_adoption(vacancy.root)
        held = await self._take_root(vacancy)
        tenure = self._lent or Renewal(self._settler, self._heartbeat, held)
        rebuilding = asyncio.get_running_loop().create_task(self._rebuild(held))
        # A candidate that is deposed, or may no longer renew, need not finish loading.
        tenure.lost.listen(lambda _: rebuilding.cancel())
        try:
            await asyncio.wait({rebuilding})
            if rebuilding.cancelled():
                raise tenure.lost.result()
            return Victory(held, tenure, self._lent or held, rebuilding.result())
        except BaseException:
            rebuilding.cancel()
            tenure.stop()
            raise

    def _try_adoption(self, seed: SeedQueue) -> None:
        """A queue that cannot be adopted is refused while its file is still what its own broker left."""
        self._replayer.begin()
        self._replayer.load_seed([bytes(job) for job in seed.jobs], seed.completed_total)

    async def _take_root(self, vacancy: Vacancy) -> HeldRoot:
        """Swap the root from the version seen to the next epoch: the same bytes until it is mine or has moved."""
        settler = self._settler
        wanted = self._candidate_root(vacancy)
        body = wanted.encode()
        backoff = settler.backoff()
        sent_ms = settler.clock.monotonic_ms()
        while True:
            try:
                if vacancy.version is None:
                    version = await settler.store.put_if_absent(ROOT, body)
                else:
                    version = await settler.store.put_if_version(ROOT, body, vacancy.version)
            except StoreUnavailable as refusal:
                settler.counters.unavailable += 1
                await backoff.pause(refusal.retry_after_ms)
                continue
            except (StoreRefused, StoreUnknown):
                settler.counters.root_swaps_unsettled += 1
            else:
                return HeldRoot(settler, self._heartbeat, wanted, version, sent_ms)
            found = await settler.read(ROOT)
            if found is not None and found.version != vacancy.version:
                if found.body == body:
                    return HeldRoot(settler, self._heartbeat, wanted, found.version, sent_ms)
                root = decode_root(found.body)
                epoch = root.epoch if isinstance(root, Root) else 0
                raise Deposed(f"epoch {epoch} took the root first", epoch=epoch, leader=root.leader)
            # Unchanged is not refused: our swap may yet land, so only a moved version ends this.
            await backoff.pause()

    def _candidate_root(self, vacancy: Vacancy) -> Root:
        ids, clock = self._settler.ids, self._settler.clock
        before = vacancy.root
        if isinstance(before, Root):
            self._before = before.release
            return msgspec.structs.replace(
                before,
                format=ROOT_FORMAT,
                release=RELEASE,
                nonce=ids.nonce(),
                epoch=before.epoch + 1,
                incarnation=self._incarnation,
                broker=self._addresses.broker,
                grpc_address=self._addresses.grpc,
                broker_heartbeat=clock.wall_ms(),
                member=None if self._lent is None else self._lent.member,
            )
        return Root(
            nonce=ids.nonce(),
            epoch=1,
            incarnation=self._incarnation,
            broker=self._addresses.broker,
            grpc_address=self._addresses.grpc,
            broker_heartbeat=clock.wall_ms(),
            checkpoint=msgspec.structs.replace(GENESIS_CHECKPOINT, form="empty" if before is None else "seed"),
            adopted=None if before is None else before.jobs,
            completed_total=0 if before is None else before.completed_total,
        )

    async def _rebuild(self, held: HeldRoot) -> Recovered:
        written_by = held.root.release if self._before is None else self._before
        try:
            recovered = await self._replay_and_fence(held)
        except WrittenByNewer as newer:
            await held.swap(lambda root: msgspec.structs.replace(root, broker=None, grpc_address=None))
            raise newer.by(written_by) from None
        except (CorruptObject, Deposed) as trouble:
            # A leader after us may have cleaned up what we were reading. Only if there is none is something wrong.
            await held.confirm()
            if isinstance(trouble, CorruptObject):
                raise
            raise CorruptObject(
                ROOT, f"it was set back to epoch {held.root.epoch}, but {trouble}: restore the newest version of it"
            ) from None
        await held.confirm()  # a read sent after the fence is known to be ours
        return recovered

    async def _replay_and_fence(self, held: HeldRoot) -> Recovered:
        settler, root = self._settler, held.root
        followed = await self._follower.give(root, settler)
        start = followed or await load_state(settler, root, self._replayer)
        replay = Replay(settler, start, candidate=root.epoch)
        try:
            while True:
                while (segment := await replay.next()) is not None:
                    apply_segment(self._replayer, segment)
                    await settler.clock.sleep_ms(0)
                lost = await replay.lost_at_gap()
                if lost is not None:
                    raise lost
                fence = Fence(
                    lane=replay.position.lane,
                    epoch=root.epoch,
                    sequence=replay.position.sequence + 1,
                    incarnation=root.incarnation,
                    previous_hash=replay.position.hash,
                )
                encoded = fence.encode()
                settled = await settler.put(fence.key, encoded.body)
                if settled.other is None:
                    log_bytes = replay.position.log_bytes + len(encoded.body)
                    position = Position(fence.epoch, fence.sequence, encoded.hash, log_bytes)
                    reached = followed.sequence if followed is not None else 0
                    return Recovered(root.checkpoint, position, reached, replay.segments, replay.fences)
                taken = replay.accept(settled.other)
                if taken is not None:
                    apply_segment(self._replayer, taken)
        finally:
            replay.close()
