"""Three brokers on a real S3 server under load, and what may happen to them."""

import asyncio
import signal
import time

from osqueue import OsqueueError, new_job
from osqueue_service.log.paths import ROOT
from tests.chaos import rest
from tests.chaos.cluster import FAILOVER_S_MAX, HAND_OVER_S_MAX, TIMEOUT_MS
from tests.chaos.http_messages import Message
from tests.chaos.proxy import Fate, Verdict, stormy
from tests.chaos.recording import RecordingTransport
from tests.chaos.run import Run
from tests.checkers.history import OK

SILENCE_S_MAX = 5.0
"""A peer that says nothing is noticed within this."""
READY_S_MAX = 2.0
"""/readyz answers within this, whatever happens."""


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


def root_is_far(request: Message) -> Verdict:
    return Verdict(delay_s=1.0) if request.path.endswith(ROOT) else Verdict()


def writes_are_late(request: Message) -> Verdict:
    return Verdict(Fate.LAND_LATE) if request.method in ("PUT", "DELETE") else Verdict()


async def lose_answers(run: Run) -> None:
    """The leader commits something, and nobody hears of it."""
    relay = run.cluster.relay_of(await run.cluster.leader())
    relay.mute()
    written = len(run.cluster.witness.log)
    await run.bell.until(lambda: len(run.cluster.witness.log) > written, "a commit", 20)
    relay.cut()


async def _submit(transport: RecordingTransport, name: str) -> object:
    job = new_job("work", {"n": name, "do": "complete"})
    return await transport.submit_jobs([job], atomic=True, request_id=name, timeout_ms=30_000)


async def test_a_paused_leader_wakes_up_as_a_standby(run: Run) -> None:
    await run.begin()
    leader = await run.cluster.leader()
    epoch = run.cluster.witness.epoch
    insister = run.load.transport("insister", [leader.address])
    await insister.get_stats(linearizable=False, timeout_ms=2_000)  # the connection is there before it falls asleep
    await leader.signal(signal.SIGSTOP)
    asleep_s = time.monotonic()
    # What is asked of it now lies in its socket until it wakes up, and is then the first that it sees.
    insisting = [asyncio.ensure_future(_submit(insister, f"insisted-{number}")) for number in range(5)]
    successor = await run.cluster.successor(epoch, 20)
    assert time.monotonic() - asleep_s < FAILOVER_S_MAX
    await run.load.flow(100, 20, epoch=epoch + 1)
    await asyncio.sleep(asleep_s + 3 * TIMEOUT_MS / 1_000 - time.monotonic())  # it sleeps for three timeouts in all

    network = run.cluster.proxy_of(leader)
    network.plan = root_is_far  # it finds the fence in its lane before it hears of the root
    woken_ms = time.monotonic() * 1_000
    await leader.signal(signal.SIGCONT)
    answers = await asyncio.gather(*insisting, return_exceptions=True)
    assert all(isinstance(answer, OsqueueError) for answer in answers), answers
    await leader.until_said("leadership ended", 10)
    run.cluster.heal()
    async with asyncio.timeout(10):
        while (told := await run.load.refusal_of(leader.address)).leader != successor.address:
            assert told.leader == ""  # it has not looked at the root yet

    # A standby like any other: it leads again when nobody else does.
    for other in run.cluster.brokers:
        if other is not leader:
            await other.signal(signal.SIGTERM)
    await run.load.flow(100, 20, epoch=run.cluster.witness.epoch + 1)
    assert leader.leads()
    await run.finish()
    assert not [
        event for event in run.load.history if event.outcome == OK and event.epoch == epoch and event.invoked > woken_ms
    ]


async def test_a_leader_that_is_asked_to_stop_hands_over(run: Run) -> None:
    await run.begin()
    for _ in range(2):
        leader = await run.cluster.leader()
        epoch = run.cluster.witness.epoch
        await run.load.flow(run.rng.randint(50, 300), 20)
        await leader.signal(signal.SIGTERM)
        await run.load.flow(100, 20, epoch=epoch + 1)
        # From there on it serves until a standby is near; what counts is how long nobody does.
        assert run.load.silence_s(epoch, leader.killed_s) < HAND_OVER_S_MAX
        assert await leader.ended() == 0
    await run.finish()


async def test_the_leader_loses_sight_of_the_bucket(run: Run) -> None:
    await run.begin()
    leader = await run.cluster.leader()
    epoch = run.cluster.witness.epoch
    network = run.cluster.proxy_of(leader)
    network.partition()
    parted_s = time.monotonic()
    await run.cluster.successor(epoch, 20)
    assert time.monotonic() - parted_s < FAILOVER_S_MAX
    await run.load.flow(200, 20, epoch=epoch + 1)
    network.heal()  # what it had sent arrives now
    await leader.until_said("leadership ended", 20)
    assert network.met[Fate.HELD] > 0
    await run.finish()


async def test_bad_networks_to_bucket_and_clients(run: Run) -> None:
    rates = {
        Fate.RESET_BEFORE: 0.03,
        Fate.ANSWER_LOST: 0.03,
        Fate.STATUS_BEFORE: 0.03,
        Fate.STATUS_AFTER: 0.03,
        Fate.LAND_LATE: 0.01,
    }
    await run.begin()
    for network in run.cluster.proxies:
        network.plan = stormy(run.rng, rates, delay_rate=0.2, delay_s_max=0.1)
    for _ in range(5):
        await run.load.flow(200, 20)
        await lose_answers(run)
    run.cluster.heal()
    for network in run.cluster.proxies:
        await network.land()
    met = sum((network.met for network in run.cluster.proxies), start=run.cluster.proxies[0].met)
    assert all(met[fate] for fate in rates), met
    assert sum(relay.cuts for relay in run.cluster.relays) == 5
    await run.finish()


async def test_what_a_dead_leader_sent_lands_after_the_takeover(run: Run) -> None:
    await run.begin()
    leader = await run.cluster.leader()
    epoch = run.cluster.witness.epoch
    network = run.cluster.proxy_of(leader)

    network.plan = writes_are_late
    await run.bell.until(lambda: network.late >= 4, "puts to be on their way", 20)
    await leader.kill()
    await run.load.flow(50, 20, epoch=epoch + 1)
    landed = await network.land()
    assert landed and all(status in (200, 204, 412) for _, status in landed)
    # The next takeover reads past whatever has landed.
    second = await run.cluster.leader()
    await second.kill()
    await run.load.flow(50, 20, epoch=epoch + 2)
    await run.finish()


async def test_workers_are_killed_and_paused(run: Run) -> None:
    await run.begin(workers=0)
    killed, paused, _ = [await run.worker(f"process-{number}") for number in range(3)]
    await run.load.until_completed(run.rng.randint(50, 150), 20)
    await killed.kill()
    await paused.signal(signal.SIGSTOP)
    leader = await run.cluster.leader()
    await leader.kill()  # the next leader gives every lease its full length again
    await run.load.until_completed(100, 20)
    witness = run.cluster.witness
    expired = witness.expired
    await run.bell.until(lambda: witness.expired > expired, "a lease to run out", 20)
    await paused.signal(signal.SIGCONT)
    await run.load.until_completed(100, 20)
    await run.finish()


async def test_everything_is_killed_behind_the_gateway(run: Run) -> None:
    await run.begin(producers=0)
    gateway, url = await run.gateway()
    for number in range(8):
        run.load.add_producer(rest.produce(run.load, f"rest-{number}", url))
    await run.load.until_completed(run.rng.randint(50, 150), 20)
    everything = [*run.cluster.brokers, gateway]
    for process in everything:
        await process.signal(signal.SIGKILL)
    for process in everything:
        await process.ended()
    await run.cluster.start(*run.cluster.brokers)
    await gateway.start()
    await run.load.until_completed(100, 30)
    await run.finish()


async def test_a_frozen_leader_holds_up_nobody_behind_a_gateway(run: Run) -> None:
    """A process that is stopped keeps its connections open: only its silence tells, also those who wait for a job."""
    await run.begin(producers=0, workers=0)
    _, url = await run.gateway()
    ready_s: list[float] = []
    working = [asyncio.ensure_future(rest.work(url, f"worker-{number}")) for number in range(4)]
    working.append(asyncio.ensure_future(rest.readiness(url, ready_s)))
    waiting = [asyncio.ensure_future(rest.wait_for_job(url, f"waiting-{number}", "rare")) for number in range(3)]
    waiting += [
        asyncio.ensure_future(rest.wait_for_job_on_a_socket(url, f"waiting-on-a-socket-{number}", "rare"))
        for number in range(3)
    ]
    try:
        for number in range(8):
            run.load.add_producer(rest.produce(run.load, f"rest-{number}", url))
        await run.load.until_completed(50, 20)
        leader = await run.cluster.leader()
        epoch = run.cluster.witness.epoch
        await leader.signal(signal.SIGSTOP)
        frozen_s = time.monotonic()
        await run.cluster.successor(epoch, 20)
        submitted = [rest.submit(run.load, f"rare-{number}", url, "rare") for number in range(len(waiting))]
        await asyncio.gather(*submitted)
        assert time.monotonic() - frozen_s < FAILOVER_S_MAX
        await asyncio.gather(*waiting)
        assert time.monotonic() - frozen_s < FAILOVER_S_MAX + SILENCE_S_MAX
        await run.load.until_completed(50, 20)
        assert max(ready_s) < READY_S_MAX
        await leader.signal(signal.SIGCONT)
        await run.finish()
    finally:
        for task in (*working, *waiting):
            task.cancel()
        await asyncio.gather(*working, *waiting, return_exceptions=True)
