"""Tokens, how they are kept, and who is let in by them."""

import json
import logging
from pathlib import Path

import pytest

from osqueue_protocol.rights import rights_of
from osqueue_service.errors import ConfigError, CorruptObject
from osqueue_service.ids import SystemIds
from osqueue_service.rpc.access import document, tokens
from osqueue_service.rpc.access.document import KEY, DocumentError, Token
from osqueue_service.rpc.access.registry import LOOK_MS, Declared, NoSuchToken, Registry, TooManyTokens
from osqueue_service.storage.memory import MemoryBucket, MemoryStore
from tests.unit.storage.manual_clock import ManualClock

READ = rights_of(["read"])
SECRET = tokens.mint(SystemIds(), "ci")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def bucket() -> MemoryBucket:
    return MemoryBucket()


def registry(bucket: MemoryBucket, clock: ManualClock, file: Path | None = None) -> Registry:
    return Registry(MemoryStore(bucket), clock, SystemIds(), file=file)


def declaring(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text(json.dumps({"tokens": rows}))
    return path


def row(**other: object) -> dict[str, object]:
    return {"id": "ci", "hashes": [SECRET.hashed], "scopes": ["read"], **other}


class TestTokens:
    def test_a_token_names_itself_and_keeps_its_secret(self):
        minted = tokens.mint(SystemIds())
        assert tokens.id_of(minted.token.encode()) == minted.id
        assert minted.token.rpartition("_")[2] not in minted.hashed
        assert tokens.hashed(minted.token.encode()) == minted.hashed

    @pytest.mark.parametrize(
        "shown", [b"", b"s3cret", b"osq_", b"osq_ci_", b"osq_CI_" + b"a" * 26, b"osq_ci_" + b"a" * 8_192, b"\xff" * 40]
    )
    def test_what_is_none_has_no_id(self, shown: bytes):
        assert tokens.id_of(shown) == ""


class TestCreated:
    async def test_a_created_token_lets_its_holder_in(self, bucket, clock):
        one = registry(bucket, clock)
        created = await one.create("builds", READ, 0)
        principal = one.find(created.secret.encode())
        assert principal is not None
        assert (principal.name, principal.rights) == ("builds", READ)
        assert one.used_at(principal.id) == clock.wall_ms()

    async def test_only_a_hash_is_stored(self, bucket, clock):
        created = await registry(bucket, clock).create("builds", READ, 0)
        stored = await MemoryStore(bucket).read(KEY)
        assert stored is not None
        assert created.secret.rpartition("_")[2].encode() not in stored.body

    async def test_another_broker_learns_of_it_when_it_is_shown(self, bucket, clock):
        one, other = registry(bucket, clock), registry(bucket, clock)
        await other.start()
        created = await one.create("builds", READ, 0)
        assert other.find(created.secret.encode()) is None
        assert await other.look_for(created.secret.encode()) is not None

    async def test_unknown_tokens_do_not_make_it_read_the_bucket_more_than_once_a_second(self, bucket, clock):
        one, other = registry(bucket, clock), registry(bucket, clock)
        unknown = tokens.mint(SystemIds()).token.encode()
        await other.look_for(unknown)
        created = await one.create("builds", READ, 0)
        assert await other.look_for(created.secret.encode()) is None
        await clock.advance_ms(LOOK_MS)
        assert await other.look_for(created.secret.encode()) is not None

    async def test_two_brokers_that_create_at_once_both_do(self, bucket, clock):
        one, other = registry(bucket, clock), registry(bucket, clock)
        await one.start()
        await other.start()
        await one.create("a", READ, 0)
        await other.create("b", READ, 0)
        assert len(other.known) == 2

    async def test_an_expired_one_is_told_from_an_unknown_one(self, bucket, clock):
        one = registry(bucket, clock)
        created = await one.create("builds", READ, clock.wall_ms() + 1_000)
        await clock.advance_ms(999)
        assert one.find(created.secret.encode()) is not None
        await clock.advance_ms(1)
        assert one.find(created.secret.encode()) is None
        assert one.has_expired(created.secret.encode())

    async def test_there_are_at_most_ten_thousand(self, bucket, clock, monkeypatch):
        monkeypatch.setattr(document, "TOKENS_MAX", 2)
        one = registry(bucket, clock)
        await one.create("a", READ, 0)
        await one.create("b", READ, 0)
        with pytest.raises(TooManyTokens):
            await one.create("c", READ, 0)
        assert len(one.known) == 2


class TestRotated:
    async def test_both_secrets_are_let_in_until_the_next_rotation(self, bucket, clock):
        one = registry(bucket, clock)
        first = await one.create("builds", READ, 0)
        second = await one.rotate(first.known.token.id, keep_old=True)
        assert one.find(first.secret.encode()) is one.find(second.secret.encode())
        third = await one.rotate(first.known.token.id, keep_old=True)
        assert one.find(first.secret.encode()) is None
        assert one.find(second.secret.encode()) is one.find(third.secret.encode()) is not None

    async def test_the_old_secret_can_be_refused_at_once(self, bucket, clock):
        one = registry(bucket, clock)
        first = await one.create("builds", READ, 0)
        second = await one.rotate(first.known.token.id, keep_old=False)
        assert one.find(first.secret.encode()) is None
        assert one.find(second.secret.encode()) is not None

    async def test_streams_of_its_holder_go_on(self, bucket, clock):
        one = registry(bucket, clock)
        first = await one.create("builds", READ, 0)
        await one.rotate(first.known.token.id, keep_old=True)
        assert not first.known.principal.ended.is_set()


class TestRevoked:
    async def test_nobody_is_let_in_and_streams_end(self, bucket, clock):
        one = registry(bucket, clock)
        created = await one.create("builds", READ, 0)
        await one.revoke(created.known.token.id)
        assert one.find(created.secret.encode()) is None
        assert created.known.principal.ended.is_set()

    async def test_one_that_is_not_there_is_named(self, bucket, clock):
        one = registry(bucket, clock)
        with pytest.raises(NoSuchToken, match="ghost"):
            await one.revoke("ghost")
        with pytest.raises(NoSuchToken, match="ghost"):
            await one.rotate("ghost", keep_old=True)


class TestDeclared:
    async def test_a_file_declares_tokens(self, bucket, clock, tmp_path):
        one = registry(bucket, clock, declaring(tmp_path / "access", row(name="ci", expires_at="2100-01-01T00:00:00Z")))
        await one.start()
        found = one.find(SECRET.token.encode())
        await one.stop()
        assert found is not None
        assert (found.name, found.rights, found.expires_at) == ("ci", READ, 4_102_444_800_000)

    async def test_it_is_read_again_when_it_changes(self, bucket, clock, tmp_path):
        path = declaring(tmp_path / "access", row())
        one = registry(bucket, clock, path)
        await one.start()
        before = one.find(SECRET.token.encode())
        declaring(path, row(scopes=["read", "manage"]))
        await clock.advance_ms(LOOK_MS)
        after = one.find(SECRET.token.encode())
        assert before is not None and after is not None
        assert after.rights.may("manage")
        assert before.ended.is_set()
        declaring(path)
        await clock.advance_ms(LOOK_MS)
        assert one.find(SECRET.token.encode()) is None
        await one.stop()

    async def test_a_broken_change_keeps_what_was_known_and_is_told(self, bucket, clock, tmp_path, caplog):
        path = declaring(tmp_path / "access", row())
        one = registry(bucket, clock, path)
        await one.start()
        path.write_text("{")
        with caplog.at_level(logging.ERROR):
            await clock.advance_ms(5 * LOOK_MS)
        assert one.find(SECRET.token.encode()) is not None
        errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
        assert len(errors) == 1 and "OSQUEUE_ACCESS_FILE" in errors[0]
        await one.stop()

    async def test_what_is_declared_is_changed_in_the_file_alone(self, bucket, clock, tmp_path):
        one = registry(bucket, clock, declaring(tmp_path / "access", row()))
        await one.start()
        with pytest.raises(Declared):
            await one.revoke("ci")
        with pytest.raises(Declared):
            await one.rotate("ci", keep_old=True)
        await one.stop()

    @pytest.mark.parametrize(
        ("rows", "said"),
        [
            ([row(id="CI")], "is not an id"),
            ([row(), row()], "twice"),
            ([row(hashes=[])], "hashes"),
            ([row(hashes=[SECRET.token])], "hashes"),
            ([row(hashes=[SECRET.hashed] * 3)], "hashes"),
            ([row(scopes=["reads"])], "token ci: 'reads' is neither"),
            ([row(scopes=[])], "no scope"),
            ([row(expires_at="tomorrow")], "expires_at"),
            ([row(expires_at="2030-01-01T00:00:00")], "time zone"),
            ([row(expires_at=-1)], "expires_at"),
            ([row(name="n" * 101)], "more than 100"),
            ([row(role="viewer")], "role"),
        ],
    )
    async def test_a_broker_does_not_start_with_one_that_it_cannot_take(self, bucket, clock, tmp_path, rows, said):
        one = registry(bucket, clock, declaring(tmp_path / "access", *rows))
        with pytest.raises(ConfigError, match=f"OSQUEUE_ACCESS_FILE.*{said}"):
            await one.start()

    async def test_nor_with_one_that_is_not_there(self, bucket, clock, tmp_path):
        with pytest.raises(ConfigError, match="OSQUEUE_ACCESS_FILE"):
            await registry(bucket, clock, tmp_path / "nothing").start()


class TestDamaged:
    async def test_every_flipped_bit_is_noticed(self):
        body = document.written({"ci": Token("ci", [SECRET.hashed], ["read"], "builds", 1, 2)})
        for position in range(8 * len(body)):
            flipped = bytearray(body)
            flipped[position // 8] ^= 1 << position % 8
            try:
                assert document.read(bytes(flipped), sealed=True) == document.read(body, sealed=True)
            except DocumentError:
                continue

    async def test_a_broker_that_knows_nobody_does_not_start(self, bucket, clock):
        await MemoryStore(bucket).put_if_absent(KEY, b"{}")
        with pytest.raises(CorruptObject, match=KEY):
            await registry(bucket, clock).start()

    async def test_one_that_runs_goes_on_with_what_it_knows(self, bucket, clock, caplog):
        one = registry(bucket, clock)
        created = await one.create("builds", READ, 0)
        stored = await MemoryStore(bucket).read(KEY)
        await MemoryStore(bucket).put_if_version(KEY, stored.body[:-20], stored.version)
        with caplog.at_level(logging.ERROR):
            await one.refresh()
        assert one.find(created.secret.encode()) is not None
        assert KEY in caplog.text
