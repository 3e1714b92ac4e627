"""One scenario's world: brokers, the load on them, and the judgement at the end."""

import random
from pathlib import Path
from types import TracebackType
from typing import Self

from osqueue_service.storage.store import ObjectStore
from tests.chaos.aftermath import complaints
from tests.chaos.bell import Bell
from tests.chaos.cluster import Cluster
from tests.chaos.load import Load
from tests.servers import Server

SHOWN_MAX = 10


class Run:
    """`cluster` serves before the scenario begins; `load` is not there before `begin`. An async context manager."""

    def __init__(
        self,
        server: Server,
        bucket: str,
        prefix: str,
        store: ObjectStore,
        folder: Path,
        bell: Bell,
        rng: random.Random,
    ) -> None:
        self.bell = bell
        self.rng = rng
        self.folder = folder
        self.cluster = Cluster(server, bucket, prefix, folder, bell)
        self.load: Load
        self._store = store
        self._loaded = False

    async def __aenter__(self) -> Self:
        await self.cluster.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._loaded:
                await self.load.__aexit__(kind, error, traceback)
                self.load.history.dump(self.folder / "history.jsonl")
        finally:
            await self.cluster.close()

    async def begin(self, **shape: int) -> None:
        """Producers and workers set out; returns when the first jobs are done."""
        await self.cluster.leader()
        self.load = await Load(self.cluster.addresses, self.bell, self.rng, **shape).__aenter__()
        self._loaded = True
        await self.load.flow(100, 20)

    async def finish(self, limit_s: float = 40.0) -> None:
        """Let every job come to its end, and judge: an `AssertionError` names all that is wrong."""
        await self.load.drain(limit_s)
        self.load.history.dump(self.folder / "history.jsonl")
        wrong = await complaints(self.load.history, self.cluster.witness, self._store)
        for broker in self.cluster.brokers:
            wrong += [f"{broker.name} met a defect: {line}" for line in broker.lines if "Traceback" in line]
        assert not wrong, f"{len(wrong)} complaints:\n" + "\n".join(wrong[:SHOWN_MAX])
