"""A whole broker without a network, on a clock of its own."""

from collections.abc import Awaitable, Callable

from osqueue_service.broker import Broker, Role
from osqueue_service.leadership import Addresses
from osqueue_service.state.commands import Submit
from osqueue_service.state.features import UNDERSTOOD
from osqueue_service.state.model import JobSpec
from osqueue_service.storage.memory import MemoryBucket, MemoryStore
from osqueue_service.storage.throttled import Throttle, ThrottledStore, ThrottleLimits
from tests.unit.leadership.brokers import HEARTBEAT, HeldStore
from tests.unit.log.virtual import SeededIds, VirtualClock


class Life:
    """A broker named `name` on the bucket, a hand on what it sends, and the roles it went through."""

    def __init__(
        self,
        bucket: MemoryBucket,
        name: str,
        *,
        sole_owner: bool = False,
        follow: bool = True,
        throttle: ThrottleLimits | None = None,
        watch: Callable[[], Awaitable[None]] | None = None,
        understood: frozenset[str] = UNDERSTOOD,
        clock: VirtualClock | None = None,
        store_time: Callable[[], int | None] = lambda: None,
    ) -> None:
        clock = clock or VirtualClock()
        self.store = HeldStore(MemoryStore(bucket, clock=clock, put_ms=10, read_ms=5))
        self.throttle = Throttle(throttle or ThrottleLimits(), clock)
        self.roles: list[Role] = []
        self.broker = Broker(
            ThrottledStore(self.store, self.throttle) if throttle else self.store,
            addresses=Addresses(f"http://{name}:8080", f"{name}:8081"),
            clock=clock,
            ids=SeededIds(sum(name.encode())),
            heartbeat=HEARTBEAT,
            sole_owner=sole_owner,
            follow=follow,
            on_role=self.roles.append,
            watch=watch,
            understood=understood,
            store_time=store_time,
        )

    async def lead(self) -> "Life":
        await self.broker.start()
        await self.broker.leading()
        return self

    async def submit(self, payload: bytes = b"{}") -> str:
        """A job; its id once it is durable."""
        (answer,) = await self.broker.engine.execute(Submit([JobSpec("t", payload)]))
        job_id: str = answer.job_id
        return job_id

    def knows(self, job_id: str) -> bool:
        return self.broker.engine._state.find(job_id) is not None

    def freeze(self) -> None:
        """From now on nothing that this broker sends leaves it."""
        self.store.hold(lambda operation, key: True)

    def thaw(self) -> None:
        self.store.let_go()
