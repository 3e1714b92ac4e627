"""An identity provider of tests: keys, tokens, and what it answers where others look for its keys."""

import json
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ISSUER = "https://login.example.org"
JWKS = "https://login.example.org/keys"
NOW_S = 1_800_000_000

RSA_KEYS = [rsa.generate_private_key(public_exponent=65_537, key_size=2_048) for _ in range(2)]
EC_KEY = ec.generate_private_key(ec.SECP256R1())


class TestIssuer:
    """`answers` are what is at its addresses: a document, or the error that a look ends with."""

    __test__ = False

    def __init__(self, issuer: str = ISSUER, jwks: str = JWKS, now_s: float = NOW_S) -> None:
        self.issuer, self.jwks, self.now_s = issuer, jwks, now_s
        self.keys: dict[str, Any] = {"rsa-1": RSA_KEYS[0], "ec-1": EC_KEY}
        self.asked: list[str] = []
        self.fails: Exception | None = None
        self.said: bytes | None = None

    def document(self) -> dict[str, Any]:
        return {"keys": [row(kid, key) for kid, key in self.keys.items()]}

    async def fetch(self, address: str) -> bytes:
        """What a broker finds at the address."""
        self.asked.append(address)
        if self.fails is not None:
            raise self.fails
        if self.said is not None:
            return self.said
        if address.endswith("/.well-known/openid-configuration"):
            return json.dumps({"issuer": self.issuer, "jwks_uri": self.jwks}).encode()
        return json.dumps(self.document()).encode()

    def token(self, kid: str | None = "rsa-1", alg: str = "RS256", key: Any = None, **claims: Any) -> bytes:
        """A token as the issuer signs it; a claim of None is left out."""
        said = {
            "iss": self.issuer,
            "aud": "osqueue",
            "sub": "ada",
            "exp": self.now_s + 600,
            "groups": ["mail"],
            **claims,
        }
        said = {name: value for name, value in said.items() if value is not None}
        headers = {} if kid is None else {"kid": kid}
        return jwt.encode(said, key or self.keys[kid or "rsa-1"], alg, headers).encode()


def row(kid: str, key: Any, **other: Any) -> dict[str, Any]:
    """A key as a JWKS has it."""
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig", **other}


def pem(key: Any) -> bytes:
    """The public key as text, as it is often published."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def declared(**other: Any) -> dict[str, Any]:
    """The issuer as the file of a broker names it."""
    rules = [{"claim": "groups", "value": "mail", "scopes": ["work:mail.*", "read"]}]
    return {"name": "corp", "issuer": ISSUER, "audience": "osqueue", "keys": JWKS, "rules": rules, **other}


def written(*issuers: dict[str, Any]) -> bytes:
    """That file."""
    return json.dumps({"issuers": issuers or [declared()]}).encode()
