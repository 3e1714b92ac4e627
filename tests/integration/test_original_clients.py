"""What clients of the first osqueue send and read, byte by byte, against a live broker and without our stubs."""

import grpc
import pytest

from osqueue_service.testing.in_process import BrokerThread
from tests import wire

Fields = dict[int, int | bytes]


@pytest.fixture(scope="module")
def grpc_server():
    with BrokerThread() as broker:
        yield broker


@pytest.fixture(scope="module")
def grpc_addr(grpc_server):
    return grpc_server.address


@pytest.fixture
def call(grpc_channel):
    """Call a method with fields by number; the answer's fields, repeated ones as the last."""

    def send(method: str, *fields: tuple[int, wire.Value]) -> list[tuple[int, int | bytes]]:
        raw = grpc_channel.unary_unary(f"/osqueue.v1.QueueService/{method}")
        return wire.decode(raw(wire.encode(fields), timeout=10))

    return send


@pytest.fixture(autouse=True)
def empty_queue(call):
    """Every test leaves, and so finds, a queue without live jobs."""
    yield
    while (claimed := dict(call("ClaimJob", (1, "sweeper")))).get(1):
        call("CompleteJob", (1, claimed[1]), (2, "sweeper"))
    for job in listed(call):
        call("CompleteJob", (1, job[1]), (2, job[5]))


def submit(call, payload: bytes = b'{"n":1}', *more: tuple[int, wire.Value]) -> bytes:
    (field,) = [value for number, value in call("SubmitJob", (1, payload), *more) if number == 1]
    assert isinstance(field, bytes)
    return field


def listed(call) -> list[Fields]:
    return [dict(wire.decode(value)) for number, value in call("ListJobs") if number == 1]


def test_a_job_runs_from_submission_to_completion(call):
    job_id = submit(call, b'{"to":"ann"}', (2, 5), (3, "email"))
    claimed = dict(call("ClaimJob", (1, "w1"), (2, "email")))
    assert (claimed[1], claimed[2], claimed[3]) == (job_id, b'{"to":"ann"}', b"email")
    call("Heartbeat", (1, job_id), (2, "w1"))
    call("CompleteJob", (1, job_id), (2, "w1"))
    assert listed(call) == []


def test_a_claim_on_an_empty_queue_succeeds_without_a_job(call):
    assert call("ClaimJob", (1, "w1")) == []


def test_a_claim_takes_only_its_types_and_none_means_any(call):
    email, image = submit(call, b"1", (3, "email")), submit(call, b"2", (3, "image"))
    assert dict(call("ClaimJob", (1, "w1"), (2, "image"), (2, "video")))[1] == image
    assert call("ClaimJob", (1, "w1"), (2, "video")) == []
    assert dict(call("ClaimJob", (1, "w1")))[1] == email


def test_jobs_are_claimed_first_in_first_out(call):
    ids = [submit(call, b"%d" % number) for number in range(5)]
    assert [dict(call("ClaimJob", (1, "w1")))[1] for _ in ids] == ids


def test_the_list_shows_live_jobs_in_the_first_fields(call):
    running = submit(call, b"a", (2, 7), (3, "email"))
    waiting = submit(call, b"b")
    call("ClaimJob", (1, "w1"))
    first, second = listed(call)
    assert (first[1], first[2], first[3], first[4], first[5]) == (running, b"in_progress", b"a", b"email", b"w1")
    assert (first[7], first[8]) == (1, 7)
    assert first[9] >= first[6] > 1_600_000_000_000
    assert (second[1], second[2], second[3]) == (waiting, b"unclaimed", b"b")
    assert 8 not in second, "a limit of attempts that nobody asked for reads 0"
    assert 9 not in second and 5 not in second


def test_the_list_counts(call):
    before = dict(call("ListJobs")).get(5, 0)
    done = submit(call)
    call("ClaimJob", (1, "w1"))
    call("CompleteJob", (1, done), (2, "w1"))
    submit(call)
    submit(call)
    call("ClaimJob", (1, "w1"))
    counts = dict(call("ListJobs"))
    assert (counts[2], counts[3], counts[4], counts[5]) == (2, 1, 1, before + 1)
    assert counts[6].startswith(b"127.0.0.1:")


def test_statistics_count_live_jobs_only(call):
    done = submit(call)
    call("ClaimJob", (1, "w1"))
    call("CompleteJob", (1, done), (2, "w1"))
    assert not {1, 2, 3} & set(dict(call("GetStats")))
    submit(call)
    submit(call)
    call("ClaimJob", (1, "w1"))
    stats = dict(call("GetStats"))
    assert (stats[1], stats[2], stats[3]) == (2, 1, 1)
    assert stats[4].startswith(b"127.0.0.1:")


@pytest.mark.parametrize("method", ["Heartbeat", "CompleteJob"])
def test_without_a_token_the_worker_id_decides(call, method):
    job_id = submit(call)
    call("ClaimJob", (1, "w1"))
    with pytest.raises(grpc.RpcError) as refused:
        call(method, (1, job_id), (2, "w2"))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    call(method, (1, job_id), (2, "w1"))


@pytest.mark.parametrize("method", ["Heartbeat", "CompleteJob"])
def test_an_unknown_job_is_not_found(call, method):
    with pytest.raises(grpc.RpcError) as refused:
        call(method, (1, "no-such-job"), (2, "w1"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("method", "fields"),
    [("SubmitJob", []), ("SubmitJob", [(1, b"x"), (2, 0)]), ("ClaimJob", []), ("Heartbeat", [(1, "j")])],
)
def test_a_bad_request_is_refused_and_changes_nothing(call, method, fields):
    with pytest.raises(grpc.RpcError) as refused:
        call(method, *fields)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert listed(call) == []
