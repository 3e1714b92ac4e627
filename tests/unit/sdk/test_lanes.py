"""How many jobs a lane claims, and when."""

import asyncio

import pytest

from osqueue import lanes
from osqueue.job import ClaimedJob
from osqueue.lanes import HURRIED_MS, Lane
from osqueue.polling import poll


class Handling:
    """Stands for an attempt: it runs until the test ends it."""

    def __init__(self, job, lane):
        self.job = job
        self.lane = lane
        self.drained = False

    def drain(self):
        self.drained = True

    def end(self):
        self.lane.slot_freed()
        self.lane.settled()


class Broker:
    """Answers claims with as many jobs as the test says."""

    def __init__(self):
        self.claims = asyncio.Queue()
        self.timeout_ms = 0
        self.started = []

    async def feed(self, taker, *, until_idle):
        await poll(taker, self.claim, until_idle=until_idle)

    async def claim(self, types, free, *, wait):
        answer = asyncio.get_running_loop().create_future()
        await self.claims.put((free, wait, answer))
        return [ClaimedJob(f"j{n}", "w", b"", timeout_ms=self.timeout_ms) for n in range(await answer)]

    def start(self, attempt, lane):
        self.started.append(attempt)
        if attempt.drained:
            attempt.end()

    async def asked(self):
        free, _, answer = await self.claims.get()
        return free, answer.set_result


@pytest.fixture
async def broker():
    return Broker()


@pytest.fixture
async def lane(broker):
    lane = Lane(["t"], 4, broker, Handling, broker.start)
    running = asyncio.ensure_future(lane.run(until_idle=False))
    yield lane
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def quick(monkeypatch):
    """Slots finish a job each while a claim is under way."""
    monkeypatch.setattr(Lane, "_needed", lambda self, claim_s: self.capacity)


@pytest.fixture
def slow(monkeypatch):
    monkeypatch.setattr(Lane, "_needed", lambda self, claim_s: 0)


async def turn():
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_free_slots_are_claimed_at_once_and_taken_ones_are_not(broker, lane, slow):
    free, answer = await broker.asked()
    assert free == 4
    answer(4)
    await turn()
    assert (lane.busy, len(broker.started), broker.claims.empty()) == (4, 4, True)
    broker.started[0].end()
    free, _ = await broker.asked()
    assert free == 1


async def test_what_finishes_while_a_claim_is_under_way_is_claimed_together(broker, lane, slow):
    _, answer = await broker.asked()
    answer(4)
    await turn()
    broker.started[0].end()
    free, answer = await broker.asked()
    assert free == 1
    broker.started[1].end()
    broker.started[2].end()
    answer(1)
    free, _ = await broker.asked()
    assert free == 2


async def test_quick_handlers_have_jobs_claimed_ahead(broker, lane, quick):
    _, answer = await broker.asked()
    answer(4)
    free, answer = await broker.asked()
    assert free == 4  # though all slots are busy
    answer(4)
    await turn()
    assert (lane.busy, len(lane.ready)) == (4, 4)
    broker.started[0].end()
    assert (lane.busy, len(lane.ready), len(broker.started)) == (4, 3, 5)  # the next one began without a call


async def test_claims_ahead_are_worth_a_call(broker, lane, quick):
    _, answer = await broker.asked()
    answer(4)
    _, answer = await broker.asked()
    answer(4)
    await turn()
    broker.started[0].end()
    await turn()
    assert broker.claims.empty()
    broker.started[1].end()
    free, _ = await broker.asked()
    assert free == 2


async def test_a_queue_that_runs_dry_is_not_claimed_ahead(broker, lane, quick):
    _, answer = await broker.asked()
    answer(3)
    free, _ = await broker.asked()
    assert free == 1


async def test_what_does_not_get_its_turn_is_given_back(broker, lane, quick, monkeypatch):
    monkeypatch.setattr(lanes, "TURN_S", 0.01)
    _, answer = await broker.asked()
    answer(4)
    _, answer = await broker.asked()
    answer(4)
    while len(broker.started) < 8:
        await asyncio.sleep(0)
    assert [attempt.drained for attempt in broker.started] == [False] * 4 + [True] * 4
    assert (lane.busy, len(lane.ready)) == (4, 0)
    await turn()
    assert broker.claims.empty()  # nothing more is claimed ahead


async def test_what_gets_its_turn_is_not_given_back(broker, lane, quick, monkeypatch):
    monkeypatch.setattr(lanes, "TURN_S", 0.01)
    _, answer = await broker.asked()
    answer(4)
    _, answer = await broker.asked()
    answer(4)
    await turn()
    for attempt in broker.started[:4]:
        attempt.end()
    _, answer = await broker.asked()
    answer(4)
    while len(broker.started) < 12:
        await asyncio.sleep(0)
    assert not any(attempt.drained for attempt in broker.started[:8])


async def test_a_stopping_lane_gives_back_what_has_not_begun(broker, lane, quick):
    _, answer = await broker.asked()
    answer(4)
    _, answer = await broker.asked()
    answer(4)
    await turn()
    lane.give_back()
    assert [attempt.drained for attempt in broker.started] == [False] * 4 + [True] * 4
    assert lane.busy == 4


async def test_outcomes_that_do_not_arrive_stop_the_claims(broker, lane, slow, monkeypatch):
    lane._unsettled_max = 4
    _, answer = await broker.asked()
    answer(4)
    await turn()
    for _ in broker.started:
        lane.slot_freed()
    await turn()
    assert broker.claims.empty()
    lane.settled()
    assert (await broker.asked())[0] == 4


@pytest.mark.parametrize(
    ("freed", "busy_s", "claim_s", "needed"),
    [(0, 4, 1, 0), (8, 8, 0.5, 2), (8, 8, 0.1, 0), (8, 0.8, 0.1, 4), (800, 0.8, 0.1, 100), (5, 0, 0.1, 100)],
)
async def test_as_many_are_needed_as_finish_during_a_claim(broker, freed, busy_s, claim_s, needed):
    lane = Lane(["t"], 4, broker, Handling, broker.start)
    lane._freed, lane._busy_s = freed, busy_s
    assert lane._needed(claim_s) == needed


async def test_how_long_handlers_take_is_measured(broker):
    lane = Lane(["t"], 4, broker, Handling, broker.start)
    now = lane._busy_since
    lane._clock = lambda: now
    lane._occupy(1)
    now += 2
    lane._occupy(1)
    now += 3
    lane.slot_freed()
    lane.slot_freed()
    assert (lane._busy_s, lane._freed) == (2 + 3 + 3, 2)


@pytest.mark.parametrize(("timeout_ms", "wanted"), [(HURRIED_MS - 1, 1), (HURRIED_MS, 4), (0, 4)])
async def test_jobs_that_have_little_time_do_not_stand_in_line(broker, lane, quick, timeout_ms, wanted):
    """The broker counts it from the claim."""
    broker.timeout_ms = timeout_ms
    _, answer = await broker.asked()
    answer(4)
    await turn()
    broker.started[0].end()
    free, _ = await broker.asked()
    assert free == wanted
