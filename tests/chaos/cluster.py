"""Brokers on one bucket, each with a faulting network of its own to the bucket and to its clients."""

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.chaos.bell import Bell
from tests.chaos.processes import BrokerProcess
from tests.chaos.proxy import Proxy, calm
from tests.chaos.relay import Relay
from tests.chaos.witness import Witness
from tests.servers import Server, free_ports

INTERVAL_MS = 500
TIMEOUT_MS = 2_000
FAILOVER_S_MAX = TIMEOUT_MS / 1_000 + 2.0
"""From the death of a busy leader to the first answer of the next one."""
HAND_OVER_S_MAX = 1.0
"""From SIGTERM at a leader to the first answer of the next one."""

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "osqueue",
    "AWS_SECRET_ACCESS_KEY": "osqueue-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


class Cluster:
    """`size` brokers over `server`, started one after the other, so that the first leads. An async context manager."""

    def __init__(
        self,
        server: Server,
        bucket: str,
        prefix: str,
        logs: Path,
        bell: Bell,
        size: int = 3,
        *,
        interval_ms: int = INTERVAL_MS,
        timeout_ms: int = TIMEOUT_MS,
    ) -> None:
        self.bell = bell
        self.witness = Witness(f"/{bucket}/{prefix}", bell.ring)
        self.brokers: list[BrokerProcess] = []
        self.proxies: list[Proxy] = [Proxy(server.port, self.witness.applied) for _ in range(size)]
        self.relays: list[Relay] = []
        self._bucket = bucket
        self._prefix = prefix
        self._logs = logs
        self._timing = {
            "BROKER_HEARTBEAT_INTERVAL_MS": str(interval_ms),
            "BROKER_HEARTBEAT_TIMEOUT_MS": str(timeout_ms),
        }

    async def __aenter__(self) -> Self:
        ports = free_ports(len(self.proxies))
        for number, proxy in enumerate(self.proxies):
            await proxy.start()
            relay = Relay(ports[number])
            await relay.start()
            self.relays.append(relay)
            variables = {
                "STORAGE_BACKEND": "s3",
                "S3_BUCKET": self._bucket,
                "S3_PREFIX": self._prefix,
                "S3_ENDPOINT_URL": proxy.endpoint,
                "BROKER_ADVERTISE_ADDRESS": relay.address,
                **self._timing,
                **CREDENTIALS,
            }
            self.brokers.append(BrokerProcess(f"broker-{number}", ports[number], variables, self._logs, self.bell))
        try:
            # The first one proves the bucket by many races; those that find a queue there race little.
            await self.start(self.brokers[0])
            await self.leader()
            await self.start(*self.brokers[1:])
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        for broker in self.brokers:
            await broker.close()
        for network in (*self.proxies, *self.relays):
            await network.close()

    @property
    def addresses(self) -> list[str]:
        return [broker.address for broker in self.brokers]

    async def start(self, *brokers: BrokerProcess) -> None:
        """Start them at once, and return when all listen."""
        for broker in brokers:
            await broker.start()
        await asyncio.gather(*(broker.until_listening() for broker in brokers))

    async def leader(self, limit_s: float = 20.0) -> BrokerProcess:
        """The broker that holds the highest epoch, once it says that it leads."""
        await self.bell.until(lambda: self._leading() is not None, "a broker to lead", limit_s)
        leading = self._leading()
        assert leading is not None
        return leading

    async def successor(self, epoch: int, limit_s: float) -> BrokerProcess:
        """The leader of an epoch above this one, once there is one."""
        await self.bell.until(lambda: self.witness.epoch > epoch, f"an epoch above {epoch}", limit_s)
        return await self.leader(limit_s)

    def proxy_of(self, broker: BrokerProcess) -> Proxy:
        return self.proxies[self.brokers.index(broker)]

    def relay_of(self, broker: BrokerProcess) -> Relay:
        return self.relays[self.brokers.index(broker)]

    def heal(self) -> None:
        """Nothing goes wrong on the network from now on."""
        for proxy in self.proxies:
            proxy.plan = calm
            proxy.heal()

    def _leading(self) -> BrokerProcess | None:
        epoch = self.witness.epoch
        return next((each for each in self.brokers if each.leads() and each.led()[-1] == epoch), None)
