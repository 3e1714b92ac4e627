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
from tests.chaos.processes import Process
from tests.checkers.history import History
from tests.servers import LOOPBACK, Server, free_ports

SHOWN_MAX = 10
GATEWAY_LISTENS = "gateway listens on"


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
        self._processes: list[Process] = []
        self._histories: list[Path] = []

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
            for process in self._processes:
                await process.close()
            await self.cluster.close()

    async def worker(self, name: str) -> Process:
        """A worker in a process of its own, at work."""
        history = self.folder / f"{name}.jsonl"
        arguments = [name, ",".join(self.cluster.addresses), str(history)]
        worker = Process(name, "tests.chaos.worker_process", {}, self.folder, self.bell, arguments)
        self._processes.append(worker)
        self._histories.append(history)
        await worker.start()
        await worker.until_said(f"{name} works")
        return worker

    async def gateway(self) -> tuple[Process, str]:
        """A gateway that listens, and its URL. Its port stays its own when it is started again."""
        (port,) = free_ports(1)
        variables = {
            "BROKER_HOST": LOOPBACK,
            "BROKER_PORT": str(port),
            "BROKER_GRPC_ADDRESSES": ",".join(self.cluster.addresses),
        }
        gateway = Process("gateway", "osqueue_gateway", variables, self.folder, self.bell)
        self._processes.append(gateway)
        await gateway.start()
        await gateway.until_said(GATEWAY_LISTENS)
        return gateway, f"http://{LOOPBACK}:{port}"

    async def begin(self, *, producers: int = 3, workers: int = 4) -> None:
        """Producers and workers set out; returns when the first jobs flow."""
        await self.cluster.leader()
        load = Load(self.cluster.addresses, self.bell, self.rng, producers=producers, workers=workers)
        self.load = await load.__aenter__()
        self._loaded = True
        if producers:
            await self.load.flow(100, 20)

    async def finish(self, limit_s: float = 40.0) -> None:
        """Let every job come to its end, and judge: an `AssertionError` names all that is wrong."""
        await self.load.drain(limit_s)
        for path in self._histories:
            self.load.history.events += History.load(path).events
        self.load.history.events.sort(key=lambda event: event.invoked)
        self.load.history.dump(self.folder / "history.jsonl")
        wrong = await complaints(self.load.history, self.cluster.witness, self._store)
        for broker in self.cluster.brokers:
            wrong += [f"{broker.name} met a defect: {line}" for line in broker.lines if "Traceback" in line]
        assert not wrong, f"{len(wrong)} complaints:\n" + "\n".join(wrong[:SHOWN_MAX])
