"""A worker's guard: the board that both share, what it does when the worker cannot or is dead, and who runs apart."""

import asyncio
import os
import time

import pytest

from osqueue import OsqueueClient, TransportConnectionError, Worker, guard_process, lease_board
from osqueue.apart import Apart
from osqueue.guard import Guard
from osqueue.guard_process import SILENT_S, GuardProcess
from osqueue.lease_board import BoardReader, Entry, LeaseBoard
from osqueue.suspects import GIVEN_BACK_MAX, NOTED_S, Suspects
from tests.unit.sdk.memory_transport import MemoryTransport

# --- the board --------------------------------------------------------------------------------------------------------


@pytest.fixture
def board():
    board = LeaseBoard(3)
    yield board
    board.close()


@pytest.fixture
def reader(board):
    return BoardReader(board.file)


def put(board, number, *, attempt=1, length_s=30.0, in_process=False):
    return board.put(f"j{number}", f"t{number}", attempt, length_s, 5.0, in_process)


def test_what_stands_on_the_board(board, reader):
    place = put(board, 1, attempt=2, in_process=True)
    put(board, 2)
    assert list(reader.entries()) == [
        Entry("j1", "t1", 2, 30.0, 5.0, 0.0, True),
        Entry("j2", "t2", 1, 30.0, 5.0, 0.0, False),
    ]
    board.asked(place, 6.0)
    board.begun(place, 7.0)
    assert next(reader.entries()) == Entry("j1", "t1", 2, 30.0, 6.0, 7.0, True)
    board.take_off(place)
    assert [entry.job_id for entry in reader.entries()] == ["j2"]


def test_a_full_board_takes_no_more_and_places_are_used_again(board, reader):
    places = [put(board, number) for number in range(4)]
    assert places[3] == -1
    board.begun(-1, 1.0)
    board.asked(-1, 1.0)
    board.take_off(-1)
    board.take_off(places[1])
    assert put(board, 9) == places[1]
    assert {entry.job_id for entry in reader.entries()} == {"j0", "j9", "j2"}


@pytest.mark.parametrize(("chars", "fits"), [(lease_board.TEXT_BYTES - 2, True), (lease_board.TEXT_BYTES - 1, False)])
def test_names_that_are_too_long_are_left_out(board, reader, chars, fits):
    assert (board.put("j" * chars, "tt", 1, 1.0, 0.0, False) >= 0) is fits
    assert len(list(reader.entries())) == fits


def test_the_keepers_stamp_and_goodbye(board, reader):
    assert reader.stamped() == (0.0, False)
    board.stamp()
    at, goodbye = reader.stamped()
    assert time.monotonic() - at < 60 and not goodbye
    board.say_goodbye()
    assert reader.stamped()[1]


# --- the process ------------------------------------------------------------------------------------------------------


class Stamped(BoardReader):
    """A board whose keeper was heard of this long ago."""

    silent_s = SILENT_S + 1
    goodbye = False

    def stamped(self):
        return time.monotonic() - self.silent_s, self.goodbye


@pytest.fixture
def suspects(tmp_path):
    return Suspects(tmp_path / "notes" / "suspects.json")


@pytest.fixture
def guarding(board, queue, suspects, monkeypatch):
    monkeypatch.setattr(guard_process, "NOTICED_S", 0)
    monkeypatch.setattr(guard_process, "DYING_S", 0)
    return GuardProcess(Stamped(board.file), "w", MemoryTransport(queue), suspects)


async def held(client, board, *, begun, attempt=1, count=1, asked_at=0.0):
    """Jobs that worker w holds."""
    handles = [await client.submit_job("t", number) for number in range(count)]
    for job in await client.claim_jobs("w", max_jobs=count):
        board.begun(board.put(job.job_id, job.lease_token, attempt, 30.0, asked_at, False), float(begun))
    return handles


async def test_leases_are_renewed_when_the_keeper_is_silent(client, queue, board, guarding):
    (handle,) = await held(client, board, begun=True)
    await guarding.tick()
    assert queue.calls.count("heartbeat_jobs") == 1
    await guarding.tick()  # it is not due yet
    assert queue.calls.count("heartbeat_jobs") == 1
    assert await handle.status() == "in_progress"


async def test_leases_are_left_to_a_keeper_that_lives(client, queue, board, guarding):
    await held(client, board, begun=True)
    guarding._board.silent_s = 0
    await guarding.tick()
    assert "heartbeat_jobs" not in queue.calls


async def test_a_lease_that_is_not_due_is_not_renewed(client, queue, board, guarding):
    await held(client, board, begun=True, asked_at=time.monotonic())
    await guarding.tick()
    assert "heartbeat_jobs" not in queue.calls


async def test_a_renewal_that_failed_is_tried_again(client, queue, board, guarding, monkeypatch):
    await held(client, board, begun=True)
    monkeypatch.setattr(guard_process, "AGAIN_AFTER", 0)
    queue.errors = [TransportConnectionError("gone")]
    await guarding.tick()
    await guarding.tick()
    assert queue.calls.count("heartbeat_jobs") == 2


async def test_jobs_of_a_dead_worker_go_back_and_none_of_several_is_blamed(client, board, guarding, suspects):
    handles = await held(client, board, begun=True, count=2)
    await guarding.worker_gone()
    jobs = [await handle.job() for handle in handles]
    assert [(job.status, job.attempts) for job in jobs] == [("unclaimed", 0)] * 2
    suspects.look()
    assert suspects.ids == {handle.id for handle in handles}


async def test_a_job_that_ran_alone_is_blamed(client, board, guarding, suspects):
    (culprit,) = await held(client, board, begun=True)
    (waited,) = await held(client, board, begun=False)
    await guarding.worker_gone()
    job = await culprit.job()
    assert (job.attempts, job.error.type) == (1, "WorkerDied")
    assert (await waited.job()).attempts == 0
    suspects.look()
    assert suspects.ids == {culprit.id}


async def test_what_had_not_begun_is_nobodys_suspect(client, board, guarding, suspects):
    (handle,) = await held(client, board, begun=False)
    await guarding.worker_gone()
    assert await handle.status() == "unclaimed"
    suspects.look()
    assert not suspects.ids


@pytest.mark.parametrize(("attempt", "status"), [(GIVEN_BACK_MAX, "unclaimed"), (GIVEN_BACK_MAX + 1, "in_progress")])
async def test_a_job_does_not_go_back_for_ever(client, board, guarding, attempt, status):
    handles = await held(client, board, begun=True, attempt=attempt, count=2)
    await guarding.worker_gone()
    assert {await handle.status() for handle in handles} == {status}


async def test_a_worker_that_said_goodbye_is_not_dead(client, board, guarding):
    (handle,) = await held(client, board, begun=True)
    guarding._board.goodbye = True
    await guarding.worker_gone()
    assert await handle.status() == "in_progress"


async def test_an_outage_is_outlasted_while_giving_back(client, queue, board, guarding):
    (handle,) = await held(client, board, begun=False)
    queue.errors = [TransportConnectionError("gone")] * 2  # the renewal before, and the first try
    await guarding.worker_gone()
    assert await handle.status() == "unclaimed"


# --- notes ------------------------------------------------------------------------------------------------------------


def test_notes_are_read_by_others_and_cleared_one_by_one(suspects):
    suspects.look()
    assert suspects.ids == frozenset()
    other = Suspects(suspects.path)
    other.note(["a", "b"])
    suspects.look()
    assert suspects.ids == {"a", "b"}
    suspects.clear("a")
    suspects.clear("never noted")
    other.look()
    assert other.ids == {"b"}
    other.clear("b")
    assert not suspects.path.exists()


def test_a_new_note_clears_those_that_did_not_run(suspects):
    suspects.note(["a", "b"])
    suspects.note(["b"])
    suspects.look()
    assert suspects.ids == {"b"}


def test_an_old_note_is_worth_nothing(suspects):
    suspects.note(["a"])
    old = time.time() - NOTED_S - 1
    os.utime(suspects.path, (old, old))
    suspects.look()
    assert not suspects.ids


@pytest.mark.parametrize("text", ["", "{", '{"a": 1}', "[1, null]"])
def test_a_note_that_makes_no_sense_is_none(suspects, text):
    suspects.path.parent.mkdir()
    suspects.path.write_text(text)
    suspects.look()
    assert not suspects.ids


@pytest.mark.parametrize(("count", "at_a_time"), [(1, 1), (19, 1), (20, 2), (256, 25)])
def test_a_tenth_of_the_suspects_run_together(suspects, count, at_a_time):
    suspects.note(map(str, range(count)))
    suspects.look()
    assert suspects.at_a_time == at_a_time


# --- apart ------------------------------------------------------------------------------------------------------------


async def turns():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_suspect_waits_for_others_and_others_for_it(suspects):
    suspects.note(["s"])
    suspects.look()
    apart = Apart(suspects)
    assert await apart.enter("a", lambda: False) is False
    suspect = asyncio.ensure_future(apart.enter("s", lambda: False))
    await turns()
    assert not suspect.done()
    other = asyncio.ensure_future(apart.enter("b", lambda: False))
    apart.leave("a", suspect=False)
    assert await suspect is True
    await turns()
    assert not other.done()
    apart.leave("s", suspect=True)
    assert await other is False
    assert not suspects.ids


async def test_who_is_stopped_waits_no_longer(suspects):
    suspects.note(["s", "r"])
    suspects.look()
    apart, stopped = Apart(suspects), []
    await apart.enter("s", lambda: False)
    waiting = [asyncio.ensure_future(apart.enter(name, lambda: bool(stopped))) for name in ("r", "other")]
    await turns()
    stopped.append(True)
    apart.wake()
    await asyncio.gather(*waiting)


async def test_a_worker_runs_suspects_apart(client, tmp_path):
    together, most = 0, {}

    async def run(payload):
        nonlocal together
        together += 1
        most[payload] = together
        await turns()
        together -= 1

    handles = [await client.submit_job("t", number) for number in range(4)]
    worker = Worker(client, {"t": run}, concurrency=4)
    suspects = Suspects(tmp_path / "notes" / "suspects.json")
    suspects.note([handles[1].id, handles[2].id])
    suspects.look()
    prepare = worker._prepare

    def with_suspects(until_idle):
        prepare(until_idle)
        worker.apart.suspects = suspects

    worker._prepare = with_suspects
    await worker.run(until_idle=True, handle_signals=False)
    assert most[1] == most[2] == 1
    assert not suspects.ids


# --- the worker's side ------------------------------------------------------------------------------------------------


async def test_a_transport_of_ones_own_is_not_guarded(client):
    assert client._reached_by_others() is None
    assert Guard("w", 1, client._reached_by_others, 0).board is None


@pytest.mark.parametrize(
    "address", ["grpc://a:1", "grpcs://a:1", "http://a:1/prefix", "https://a:1", "ws://a:1", "wss://a:1"]
)
def test_another_process_is_told_the_same_address(address):
    told = OsqueueClient(address, token="secret")._reached_by_others()
    assert (told["endpoints"], told["token"]) == ([address], "secret")


def test_a_system_without_shared_memory_is_told_of_it(monkeypatch, caplog):
    monkeypatch.setattr(os, "memfd_create", _refuse, raising=False)
    guard = Guard("w", 1, OsqueueClient("a:1")._reached_by_others, 0)
    assert guard.board is None
    assert "has no guard" in caplog.text
    guard.tick()
    guard.close()


def _refuse(*_):
    raise OSError("not here")
