"""Tokens that an issuer has signed: which are let in, and what its keys are taken from."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from osqueue_protocol.callers import JWT_BYTES_MAX
from osqueue_service.errors import StorageUnavailable, Unauthenticated
from osqueue_service.rpc.access.principal import Principal
from osqueue_service.rpc.access.signed import bearers as signed
from osqueue_service.rpc.access.signed.bearers import LEEWAY_MS, Bearers
from osqueue_service.rpc.access.signed.issuers import ISSUERS_MAX, RULES_MAX, IssuersError, read
from osqueue_service.rpc.access.signed.keys import EVERY_MS, KEYS_MAX, LOOK_MS, WAITING_MAX, FetchError
from tests.issuer import ISSUER, NOW_S, RSA_KEYS, TestIssuer, declared, pem, row, written
from tests.unit.storage.manual_clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(wall_ms=NOW_S * 1_000)


@pytest.fixture
def issuer() -> TestIssuer:
    return TestIssuer()


@pytest.fixture
async def bearers(issuer, clock):
    async with knowing(issuer, clock) as known:
        yield known


class knowing:
    """Bearers that have fetched the issuer's keys."""

    def __init__(self, issuer, clock, **other) -> None:
        self.bearers = Bearers(read(written(declared(**other))), issuer.fetch, clock)

    async def __aenter__(self) -> Bearers:
        self.bearers.start()
        for keys in self.bearers._keys.values():
            await keys.look()
        return self.bearers

    async def __aexit__(self, *_) -> None:
        await self.bearers.stop()


def b64(data: bytes | dict) -> bytes:
    data = json.dumps(data).encode() if isinstance(data, dict) else data
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def refusal(bearers: Bearers, token: bytes) -> str:
    found = bearers.admit(token)
    assert isinstance(found, Unauthenticated)
    return str(found)


# --- who is let in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kid", "alg"), [("rsa-1", "RS256"), ("ec-1", "ES256")])
async def test_whom_the_issuer_vouches_for_is_let_in(bearers, issuer, kid, alg):
    principal = bearers.admit(issuer.token(kid, alg))
    assert isinstance(principal, Principal)
    assert (principal.id, principal.rights.names()) == ("corp:ada", ["read", "work:mail.*"])
    assert principal.expires_at == (NOW_S + 600) * 1_000 + LEEWAY_MS
    assert bearers.admit(issuer.token(kid, alg)) is principal or kid == "ec-1"  # whose signatures differ each time


async def test_a_token_without_a_kid_is_verified_by_the_only_key_that_fits(bearers, issuer):
    assert isinstance(bearers.admit(issuer.token(None)), Principal)
    issuer.keys["rsa-2"] = RSA_KEYS[1]
    async with knowing(issuer, ManualClock(wall_ms=NOW_S * 1_000)) as others:
        assert "its key (kid) None is none that corp has for RS256" in refusal(others, issuer.token(None))


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        ({"exp": NOW_S - 31}, "it has expired (exp)"),
        ({"nbf": NOW_S + 31}, "it is not valid yet (nbf)"),
        ({"aud": "another"}, "it is for another audience (aud) than 'osqueue'"),
        ({"aud": None}, 'it lacks a claim: Token is missing the "aud" claim'),
        ({"exp": None}, 'missing the "exp" claim'),
        ({"exp": "soon"}, "exp must be a number of seconds"),
        ({"exp": 10**40}, "exp must be a number of seconds"),
        ({"exp": True}, "exp must be a number of seconds"),
        ({"sub": None}, 'missing the "sub" claim'),
        ({"sub": "a" * 201}, "its subject (sub) must be 1 to 200 printable"),
        ({"sub": "a\nb"}, "its subject (sub)"),
        ({"iss": "https://evil.example"}, "its issuer (iss) 'https://evil.example' is not one that this broker trusts"),
        ({"groups": ["others"]}, "none of the rules for corp gives 'ada' a scope"),
        ({"groups": 7}, "none of the rules"),
    ],
)
async def test_what_is_wrong_with_a_token_is_said(bearers, issuer, other, complaint):
    assert complaint in refusal(bearers, issuer.token(**other))


@pytest.mark.parametrize(
    "other", [{"exp": NOW_S - 29}, {"nbf": NOW_S + 30}, {"sub": "a" * 200}, {"aud": ["x", "osqueue"]}]
)
async def test_what_is_just_right(bearers, issuer, other):
    assert isinstance(bearers.admit(issuer.token(**other)), Principal)


async def test_nobody_signs_with_nothing_or_with_what_everybody_knows(bearers, issuer):
    claims = b64({"iss": ISSUER, "aud": "osqueue", "sub": "eve", "exp": NOW_S + 600, "groups": ["mail"]})
    for alg in ("none", "None", "NONE", ""):
        unsigned = b64({"alg": alg, "kid": "rsa-1"}) + b"." + claims + b"."
        assert "it is signed by" in refusal(bearers, unsigned) or "cannot be read" in refusal(bearers, unsigned)
    for secret in (pem(RSA_KEYS[0]), json.dumps(row("rsa-1", RSA_KEYS[0])).encode(), b""):
        signed_part = b64({"alg": "HS256", "kid": "rsa-1"}) + b"." + claims
        forged = signed_part + b"." + b64(hmac.digest(secret, signed_part, hashlib.sha256))
        assert "it is signed by 'HS256', and those of corp by RS256, ES256" in refusal(bearers, forged)


async def test_algorithm_and_key_must_fit(bearers, issuer):
    _, _, rest = issuer.token("rsa-1").partition(b".")
    for alg, kid in (("ES256", "rsa-1"), ("RS256", "ec-1"), ("RS512", "rsa-1")):
        assert isinstance(bearers.admit(b64({"alg": alg, "kid": kid}) + b"." + rest), Unauthenticated)
    assert isinstance(
        bearers.admit(b64({"alg": "RS256", "kid": "rsa-1", "crit": ["x"]}) + b"." + rest), Unauthenticated
    )


async def test_keys_that_a_token_brings_along_are_not_looked_at(bearers, issuer):
    import jwt

    claims = {"iss": ISSUER, "aud": "osqueue", "sub": "eve", "exp": NOW_S + 600, "groups": ["mail"]}
    for header in (
        {"jwk": row("rsa-1", RSA_KEYS[1])},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example"},
    ):
        token = jwt.encode(claims, RSA_KEYS[1], "RS256", {"kid": "rsa-1", **header}).encode()
        assert "its signature is not that of the key 'rsa-1'" in refusal(bearers, token)
    assert issuer.asked == [declared()["keys"]]


async def test_every_changed_byte_is_noticed(bearers, issuer):
    token = issuer.token()
    for place in range(0, len(token) - 1, 7):
        changed = bytearray(token)
        changed[place] = ord("A") if changed[place] != ord("A") else ord("B")
        assert isinstance(bearers.admit(bytes(changed)), Unauthenticated)


@pytest.mark.parametrize(
    "token",
    [
        b"eyJ..",
        b"eyJhbGciOiJSUzI1NiJ9.e30.",
        b"eyJ\xff.a.b",
        b64(b'{"a":' + b"[" * 2_000) + b".e30.x",
        b"eyJhbGciOiJSUzI1NiJ9." + b64(b"[" * 3_000) + b".x",
        b"eyJhbGciOiJSUzI1NiJ9." + b64(b"[]") + b".x",
        b64({"alg": 7}) + b"." + b64({"iss": ISSUER}) + b".x",
        b64({"alg": "RS256", "kid": {}}) + b"." + b64({"iss": ISSUER}) + b".",
        b64({"alg": "RS256"}) + b"." + b64({"iss": [ISSUER]}) + b".x",
    ],
)
async def test_nonsense_is_refused(bearers, token):
    assert len(refusal(bearers, token)) < 300


async def test_long_tokens_are_not_looked_at(bearers, issuer):
    short = issuer.token(pad="")
    fitting = next(
        t
        for n in range(8_000)
        if len(t := issuer.token(pad="x" * ((JWT_BYTES_MAX - len(short)) * 3 // 4 - n))) <= JWT_BYTES_MAX
    )
    assert len(fitting) > JWT_BYTES_MAX - 4
    assert isinstance(bearers.admit(fitting), Principal)
    assert f"at most {JWT_BYTES_MAX} are taken" in refusal(bearers, issuer.token(pad="x" * 8_192))


async def test_a_token_ends_while_it_is_known(bearers, issuer, clock):
    token = issuer.token()
    assert isinstance(bearers.admit(token), Principal)
    await clock.advance_ms(600_000 + LEEWAY_MS)
    assert "it has expired" in refusal(bearers, token)


async def test_as_many_as_are_remembered(bearers, issuer, monkeypatch):
    monkeypatch.setattr(signed, "KNOWN_MAX", 2)
    for name in ("a", "b", "c"):
        assert isinstance(bearers.admit(issuer.token(sub=name)), Principal)
    assert len(bearers._known) == 2


async def test_rules_add_up_and_claims_may_lie_deep(issuer, clock):
    rules = [
        {"scopes": ["read"]},
        {"claim": "scope", "value": "queue:work", "scopes": ["work"]},
        {"claim": "realm.roles", "value": "boss", "scopes": ["manage"]},
        {"claim": "https://x.org/level", "value": "high", "scopes": ["operate"]},
    ]
    async with knowing(issuer, clock, rules=rules) as bearers:
        token = issuer.token(scope="openid queue:work", realm={"roles": ["boss"]}, **{"https://x.org/level": "high"})
        assert bearers.admit(token).rights.names() == ["manage", "operate", "read", "work:*"]
        assert bearers.admit(issuer.token(realm="boss", scope="queue:workers")).rights.names() == ["read"]


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_an_unknown_key_is_asked_for_and_the_caller_told_to_call_again(bearers, issuer, clock):
    issuer.keys["rsa-2"] = RSA_KEYS[1]
    token = issuer.token("rsa-2")
    assert isinstance(bearers.admit(token), Unauthenticated)
    await clock.advance_ms(LOOK_MS)
    answer = await bearers.second_look(token)
    assert isinstance(answer, StorageUnavailable)
    assert answer.retry_after_ms == 1
    assert isinstance(bearers.admit(token), Principal)


async def test_a_flood_of_unknown_keys_asks_once(bearers, issuer, clock):
    stranger = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    await clock.advance_ms(LOOK_MS)
    before = len(issuer.asked)
    tokens = [issuer.token(f"kid-{number}", key=stranger) for number in range(200)]
    answers = await asyncio.gather(*map(bearers.second_look, tokens))
    assert (len(issuer.asked) - before, set(answers)) == (1, {None})
    await clock.advance_ms(LOOK_MS - 1)
    await bearers.second_look(tokens[0])
    assert len(issuer.asked) - before == 1


async def test_only_so_many_wait_for_the_issuer(bearers, issuer, clock):
    let_go = asyncio.Event()
    at_once = issuer.fetch

    async def slowly(address):
        await let_go.wait()
        return await at_once(address)

    (keys,) = bearers._keys.values()
    keys._fetch = slowly
    await clock.advance_ms(LOOK_MS)
    waiting = [
        asyncio.ensure_future(bearers.second_look(issuer.token("new", key=RSA_KEYS[1]))) for _ in range(WAITING_MAX)
    ]
    for _ in range(3):
        await asyncio.sleep(0)
    assert await bearers.second_look(issuer.token("new", key=RSA_KEYS[1])) is None  # without waiting
    assert isinstance(bearers.admit(issuer.token()), Principal)  # who is known is let in meanwhile
    let_go.set()
    await asyncio.gather(*waiting)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": 7}',
        b'{"keys": []}',
        b"<html>",
        b"\xff",
        b"[" * 100_000,
        b'{"keys": [{"kty": "oct", "kid": "rsa-1", "k": "c2VjcmV0"}]}',
    ],
)
async def test_an_issuer_that_answers_nonsense_locks_out_nobody_it_named(bearers, issuer, clock, caplog, said):
    issuer.said = said
    await clock.advance_ms(LOOK_MS)
    with caplog.at_level(logging.ERROR):
        (keys,) = bearers._keys.values()
        await keys.look()
    assert isinstance(bearers.admit(issuer.token()), Principal)
    assert "going on with the 2 known ones" in caplog.text
    answer = await bearers.second_look(issuer.token("new", key=RSA_KEYS[1]))
    assert isinstance(answer, StorageUnavailable)
    assert "the keys of the token's issuer cannot be fetched" in str(answer)


async def test_an_issuer_that_is_down_lets_nobody_in_and_is_waited_for(issuer, clock):
    issuer.fails = FetchError("it is down")
    async with knowing(issuer, clock) as bearers:
        token = issuer.token()
        assert isinstance(bearers.admit(token), Unauthenticated)
        assert "cannot be fetched: it is down" in str(await bearers.second_look(token))
        issuer.fails = None
        await clock.advance_ms(LOOK_MS)
        assert "call again" in str(await bearers.second_look(token))
        assert isinstance(bearers.admit(token), Principal)


async def test_a_key_that_is_withdrawn_ends_whom_it_let_in(bearers, issuer, clock):
    by_rsa, by_ec = bearers.admit(issuer.token()), bearers.admit(issuer.token("ec-1", "ES256"))
    issuer.keys["rsa-1"] = RSA_KEYS[1]  # another one of the same id
    await clock.advance_ms(EVERY_MS)
    (keys,) = bearers._keys.values()
    await keys.look()
    assert (by_rsa.ended.is_set(), by_ec.ended.is_set()) == (True, False)
    assert "its signature is not that of the key" in refusal(bearers, issuer.token(key=RSA_KEYS[0]))


@pytest.mark.parametrize(
    "rows",
    [
        [row("rsa-1", RSA_KEYS[0], use="enc")],
        [row("rsa-1", RSA_KEYS[0], alg="HS256")],
        [row("rsa-1", rsa.generate_private_key(public_exponent=65_537, key_size=1_024))],
        [{**row("rsa-1", RSA_KEYS[0]), "n": "AQAB"}],
        [{"kty": "RSA", "kid": "rsa-1"}, 7, None, {"kty": "EC", "crv": "P-256", "x": "", "y": ""}],
        [row(f"rsa-{number}", RSA_KEYS[0]) for number in range(1, KEYS_MAX + 2)],
    ],
)
async def test_keys_that_are_not_taken(issuer, clock, rows):
    issuer.said = json.dumps({"keys": rows}).encode()
    async with knowing(issuer, clock) as bearers:
        assert isinstance(bearers.admit(issuer.token()), Unauthenticated)
    issuer.said = json.dumps({"keys": [*rows[: KEYS_MAX - 1], row("good", RSA_KEYS[1])]}).encode()
    async with knowing(issuer, ManualClock(wall_ms=NOW_S * 1_000)) as bearers:
        assert isinstance(bearers.admit(issuer.token("good", key=RSA_KEYS[1])), Principal)


async def test_an_issuer_says_where_its_keys_are(issuer, clock):
    async with knowing(issuer, clock, keys="") as bearers:
        assert isinstance(bearers.admit(issuer.token()), Principal)
    assert issuer.asked == [f"{ISSUER}/.well-known/openid-configuration", issuer.jwks]


@pytest.mark.parametrize(
    "said",
    [
        {"issuer": "https://evil.example", "jwks_uri": "https://evil.example/keys"},
        {"issuer": ISSUER, "jwks_uri": "http://login.example.org/keys"},
        {"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"},
        {"issuer": ISSUER, "jwks_uri": None},
    ],
)
async def test_what_an_issuer_says_of_itself_is_not_believed_blindly(issuer, clock, said):
    issuer.said = json.dumps(said).encode()
    async with knowing(issuer, clock, keys="") as bearers:
        assert isinstance(bearers.admit(issuer.token()), Unauthenticated)
    assert len(issuer.asked) == 1


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "it is not what it should be"),
        (b"\xff", "it is not what it should be"),
        (b'{"issuers": []}', "at least one and at most 16"),
        (written(declared(secret="x")), "unknown field `secret`"),
        (written(declared(name="")), r"issuers\[0\].name: must be a word"),
        (written(declared(name="a:b")), r"issuers\[0\].name: must be a word"),
        (written(declared(audience="")), r"issuers\[0\].audience: must not be empty"),
        (written(declared(keys="http://login.example.org/keys")), "keys: .* must begin with https://"),
        (written(declared(keys="", issuer="http://login.example.org")), "issuer: .* must begin with https://"),
        (written(declared(algorithms=["HS256"])), "algorithms: HS256 cannot be taken"),
        (written(declared(algorithms=["none"])), "algorithms: none cannot be taken"),
        (written(declared(algorithms=[])), "algorithms: none cannot be taken"),
        (written(declared(rules=[])), "rules: there are 0"),
        (written(declared(rules=[{"scopes": ["read"]}] * (RULES_MAX + 1))), f"at most {RULES_MAX}"),
        (written(declared(rules=[{"claim": "a", "scopes": ["read"]}])), r"rules\[0\]: claim and value belong together"),
        (written(declared(rules=[{"scopes": ["reed"]}])), r"rules\[0\].scopes: 'reed' is neither a scope nor a role"),
        (written(declared(rules=[{"scopes": []}])), r"rules\[0\].scopes: no scope is given"),
        (written(declared(), declared()), r"issuers\[1\]: the name 'corp' or its issuer is there twice"),
        (written(*(declared(name=f"n{n}", issuer=f"https://{n}.org") for n in range(ISSUERS_MAX + 1))), "17 are named"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(body, complaint):
    with pytest.raises(IssuersError, match=complaint):
        read(body)


def test_a_file_at_its_limits():
    rules = [{"scopes": ["read"]}] * RULES_MAX
    issuers = [declared(name=f"n{n}", issuer=f"https://{n}.org", rules=rules) for n in range(ISSUERS_MAX)]
    assert len(read(written(*issuers))) == ISSUERS_MAX
    assert read(written(declared(keys="http://127.0.0.1:9/keys")))
