"""`queue.json`: the seed's fields, our own, a seal over all of them, and nothing that is not understood."""

import hashlib
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osqueue_service.errors import CorruptObject, WrittenByNewer
from osqueue_service.log.root import GENESIS_CHECKPOINT, CheckpointRef, Root, SeedQueue, decode_root
from tests.unit.log.fixtures import ME

FROZEN = Path(__file__).parent / "frozen"

ROOT = Root(
    release="0.1.0",
    nonce="0123456789ABCDEF",
    epoch=4,
    incarnation=ME,
    broker="http://broker-1:8080",
    grpc_address="broker-1:8081",
    broker_heartbeat=1_700_000_000_000,
    checkpoint=CheckpointRef(sequence=12, epoch=3, hash="ab" * 32, form="inline", size=3, sha256="cd" * 32, format=2),
    completed_total=7,
    state=b"\x00\x01\x02",
)
EMPTY = msgspec.structs.replace(ROOT, checkpoint=GENESIS_CHECKPOINT, state=None)
ADOPTED = msgspec.structs.replace(
    EMPTY,
    checkpoint=msgspec.structs.replace(GENESIS_CHECKPOINT, form="seed"),
    adopted=[msgspec.Raw(b'{"id":"j1","status":"unclaimed","payload":{"big":12345678901234567890123},"attempts":0}')],
)
NEEDY = msgspec.structs.replace(ROOT, needs=("limits", "workflows"), release="0.9.0")


def sealed(content: bytes) -> bytes:
    """The JSON object `content` with a seal that is right: what some release has written just so."""
    body = content.strip()[:-1]
    return body + b',"seal":"' + hashlib.sha256(body).hexdigest().encode() + b'"}'


def changed(root: Root, **fields: object) -> bytes:
    """The root with these fields in its JSON, sealed anew."""
    shown = msgspec.json.decode(root.encode())
    del shown["seal"]
    return sealed(msgspec.json.encode(shown | fields))


@pytest.mark.parametrize("root", [ROOT, EMPTY, ADOPTED, NEEDY])
def test_what_is_written_is_read(root: Root) -> None:
    assert decode_root(root.encode()) == root


def test_a_client_of_the_seed_finds_its_fields() -> None:
    fields = msgspec.json.decode(ROOT.encode())
    assert fields["broker"] == "http://broker-1:8080"
    assert fields["brokerHeartbeat"] == 1_700_000_000_000
    assert fields["completedTotal"] == 7


def test_a_broker_of_the_seed_cannot_take_a_root_for_its_own() -> None:
    """It reads `jobs` as an array. Were there one, it would go on from it and write the whole queue over."""
    for root in (ROOT, EMPTY, ADOPTED):
        assert "jobs" not in msgspec.json.decode(root.encode())
        with pytest.raises(msgspec.ValidationError, match="jobs"):
            msgspec.json.decode(root.encode(), type=SeedQueue)


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


# --- what a later release wrote ------------------------------------------------------------------------------------


def test_a_later_format_names_the_release_and_its_features() -> None:
    with pytest.raises(
        WrittenByNewer,
        match=r"queue\.json: it was written by osqueue 0\.9\.0 and has format 3 and uses 'limits', which osqueue "
        r"0\.1\.0 does not know: start osqueue 0\.9\.0 again; nothing is damaged, and nothing was changed",
    ):
        decode_root(changed(NEEDY, format=3, needs=["limits"], checkpoint={"elsewhere": 1}))


def test_an_unknown_feature_names_the_release_and_the_feature() -> None:
    root = decode_root(NEEDY.encode())
    assert isinstance(root, Root)
    root.require({"limits", "workflows"})
    with pytest.raises(WrittenByNewer, match=r"written by osqueue 0\.9\.0 and uses 'workflows', which") as caught:
        root.require({"limits"})
    assert (caught.value.key, caught.value.release) == ("queue.json", "0.9.0")


@pytest.mark.parametrize("change", [{"unknownField": 1}, {"epoch": "4"}, {"checkpoint": {"form": "elsewhere"}}])
def test_what_does_not_fit_under_a_right_seal_is_a_later_releases(change: dict[str, object]) -> None:
    with pytest.raises(WrittenByNewer, match=r"written by osqueue 0\.9\.0 and holds what cannot be read here"):
        decode_root(changed(NEEDY, **change))


# --- damage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 0},
        {"state": None},
        {"checkpoint": {"sequence": 1, "epoch": 9, "hash": "ab" * 32, "form": "empty"}, "state": None},
        {"checkpoint": {"sequence": 1, "epoch": 1, "hash": "ab", "form": "empty"}, "state": None},
        {"checkpoint": {"sequence": 1, "epoch": 1, "hash": "zz" * 32, "form": "empty"}, "state": None},
        {"checkpoint": {"sequence": 1, "epoch": 1, "hash": "ab" * 32, "form": "objects"}, "state": None},
        {"checkpoint": {"sequence": 1, "epoch": 1, "hash": "ab" * 32, "form": "seed"}, "state": None},
        {"checkpoint": {"sequence": -1, "epoch": 1, "hash": "ab" * 32, "form": "empty"}, "state": None},
    ],
)
def test_a_root_that_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(CorruptObject) as caught:
        decode_root(changed(ROOT, **change))
    assert caught.value.key == "queue.json"


@pytest.mark.parametrize("root", [ROOT, EMPTY, ADOPTED, NEEDY])
def test_every_flipped_bit_is_noticed(root: Root) -> None:
    body = root.encode()
    for bit in range(len(body) * 8):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptObject, match="restore it from a copy or an earlier version") as caught:
            decode_root(bytes(flipped))
        assert caught.value.key == "queue.json"


def test_a_root_without_its_seal_is_refused() -> None:
    body = ROOT.encode()
    unsealed = body[: body.rindex(b',"seal"')] + b"}"
    for damaged in (unsealed, body + b"\n", body.replace(b'"seal"', b'"soul"')):
        with pytest.raises(CorruptObject, match="the seal at its end is missing or damaged"):
            decode_root(damaged)


@pytest.mark.parametrize("body", [ROOT.encode(), (FROZEN / "root-1.json").read_bytes(), b'{"broker":null,"jobs":[]}'])
def test_random_damage_is_understood_or_refused(body: bytes) -> None:
    draw = random.Random(7)
    for _ in range(4_000):
        damaged = bytearray(body)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(damaged))
            match draw.randrange(3):
                case 0:
                    damaged[at] = draw.randrange(256)
                case 1:
                    damaged[at:at] = draw.randbytes(draw.randint(1, 3))
                case _:
                    del damaged[at : at + draw.randint(1, 5)]
        try:
            decode_root(bytes(damaged))
        except CorruptObject as corrupt:
            assert corrupt.key == "queue.json"


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


# --- frozen bytes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "root"), [("root-2", ROOT), ("root-empty-2", EMPTY), ("root-adopted-2", ADOPTED)])
def test_the_bytes_of_format_2_are_frozen(name: str, root: Root) -> None:
    assert root.encode() == (FROZEN / f"{name}.json").read_bytes()


def test_a_root_of_format_1_is_read_and_leaves_its_view_of_the_jobs_behind() -> None:
    root = decode_root((FROZEN / "root-1.json").read_bytes())
    before = msgspec.structs.replace(ROOT.checkpoint, format=1)
    assert root == msgspec.structs.replace(ROOT, format=1, release="", checkpoint=before)
    empty = decode_root((FROZEN / "root-empty-1.json").read_bytes())
    assert isinstance(empty, Root)
    assert (empty.checkpoint.form, empty.checkpoint.format, empty.adopted) == ("empty", 1, None)


def test_a_root_of_format_1_whose_jobs_were_adopted_keeps_them() -> None:
    body = (FROZEN / "root-empty-1.json").read_bytes().replace(b'"form":"empty"', b'"form":"seed"')
    root = decode_root(body.replace(b'"jobs":[]', b'"jobs":[{"id":"a"}]'))
    assert isinstance(root, Root)
    assert root.adopted is not None
    assert [bytes(job) for job in root.adopted] == [b'{"id":"a"}']
