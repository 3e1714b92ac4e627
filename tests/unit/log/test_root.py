"""`queue.json`: the seed's fields, our own, and nothing that is not understood."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osqueue_service.errors import CorruptObject
from osqueue_service.log.root import GENESIS_CHECKPOINT, CheckpointRef, Root, SeedQueue, decode_root
from tests.unit.log.fixtures import ME

FROZEN = Path(__file__).parent / "frozen"

ROOT = Root(
    nonce="0123456789ABCDEF",
    epoch=4,
    incarnation=ME,
    broker="http://broker-1:8080",
    grpc_address="broker-1:8081",
    broker_heartbeat=1_700_000_000_000,
    checkpoint=CheckpointRef(sequence=12, epoch=3, hash="ab" * 32, form="inline", size=3, sha256="cd" * 32),
    jobs=[msgspec.Raw(b'{"id":"j1","status":"unclaimed","payload":{"big":12345678901234567890123},"attempts":0}')],
    completed_total=7,
    state=b"\x00\x01\x02",
)


def test_what_is_written_is_read() -> None:
    assert decode_root(ROOT.encode()) == ROOT


def test_a_client_of_the_seed_finds_its_fields() -> None:
    fields = msgspec.json.decode(ROOT.encode())
    assert fields["broker"] == "http://broker-1:8080"
    assert fields["brokerHeartbeat"] == 1_700_000_000_000
    assert fields["completedTotal"] == 7
    assert fields["jobs"][0]["id"] == "j1"


def test_the_seeds_own_file_is_recognised_and_its_jobs_are_kept_verbatim() -> None:
    job = '{"id": "a", "status":"in_progress", "payload": {"n": 123456789012345678901234567890, "z": 1.0}, "new": null}'
    body = f'{{"broker":"http://old:8080","brokerHeartbeat":1,"jobs":[{job}],"completedTotal":41,"extra":{{}}}}'
    seed = decode_root(body.encode())
    assert isinstance(seed, SeedQueue)
    assert [bytes(text) for text in seed.jobs] == [job.encode()]
    assert (seed.completed_total, seed.broker, seed.leader) == (41, "http://old:8080", "http://old:8080")


def test_a_seed_that_nobody_leads() -> None:
    seed = decode_root(b'{"broker":null,"jobs":[]}')
    assert isinstance(seed, SeedQueue)
    assert seed.leader == ""


def test_a_later_format_is_refused_by_name() -> None:
    with pytest.raises(CorruptObject, match=r"queue\.json: it has format 2.*use a broker of that release"):
        decode_root(ROOT.encode().replace(b'"format":1', b'"format":2'))


@pytest.mark.parametrize(
    "change",
    [
        {"unknownField": 1},
        {"epoch": 0},
        {"epoch": "4"},
        {"nonce": None},
        {"state": None},
        {"state": "not base64!"},
        {"checkpoint": {"sequence": 1, "epoch": 9, "hash": "ab" * 32, "form": "empty"}, "state": None},
        {"checkpoint": {"sequence": 1, "epoch": 1, "hash": "ab", "form": "empty"}, "state": None},
        {"checkpoint": {"sequence": 1, "epoch": 1, "hash": "zz" * 32, "form": "empty"}, "state": None},
        {"checkpoint": {"sequence": 1, "epoch": 1, "hash": "ab" * 32, "form": "objects"}, "state": None},
        {"checkpoint": {"sequence": -1, "epoch": 1, "hash": "ab" * 32, "form": "empty"}, "state": None},
        {"checkpoint": {"sequence": 1, "epoch": 1, "hash": "ab" * 32, "form": "elsewhere"}, "state": None},
    ],
)
def test_a_root_that_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    body = msgspec.json.encode(msgspec.json.decode(ROOT.encode()) | change)
    with pytest.raises(CorruptObject) as caught:
        decode_root(body)
    assert caught.value.key == "queue.json"


@given(st.binary(max_size=200))
def test_any_bytes_are_understood_or_refused(body: bytes) -> None:
    try:
        decode_root(body)
    except CorruptObject as corrupt:
        assert corrupt.key == "queue.json"


def test_every_truncation_is_refused() -> None:
    body = ROOT.encode()
    for length in range(len(body)):
        with pytest.raises(CorruptObject):
            decode_root(body[:length])


def test_the_bytes_of_format_1_are_frozen() -> None:
    assert ROOT.encode() == (FROZEN / "root-1.json").read_bytes()
    empty = msgspec.structs.replace(ROOT, checkpoint=GENESIS_CHECKPOINT, state=None, jobs=[])
    assert empty.encode() == (FROZEN / "root-empty-1.json").read_bytes()
