"""Three brokers on a real S3 server under load, and what may happen to them."""

import signal

from tests.chaos.cluster import FAILOVER_S_MAX
from tests.chaos.run import Run


async def test_the_leader_is_killed_twice(run: Run) -> None:
    await run.begin()
    for _ in range(2):
        leader = await run.cluster.leader()
        epoch = run.cluster.witness.epoch
        await run.load.flow(run.rng.randint(50, 300), 20)
        await leader.signal(signal.SIGKILL)
        await run.load.flow(100, 20, epoch=epoch + 1)
        assert run.load.silence_s(epoch, leader.killed_s) < FAILOVER_S_MAX
        await leader.ended()
        await run.cluster.start(leader)
    await run.finish()
