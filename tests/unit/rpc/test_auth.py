"""Who may call."""

import pytest

from osqueue_protocol.callers import FORWARDING_HEADERS, is_local_peer
from osqueue_service.errors import OsqueueError, PermissionDenied, Unauthenticated
from osqueue_service.rpc.auth import Guard


class Caller:
    """As much of a context as a guard looks at."""

    def __init__(self, peer: str = "ipv4:127.0.0.1:4711", **metadata: str | bytes) -> None:
        self._peer = peer
        self._metadata = tuple((key.replace("_", "-"), value) for key, value in metadata.items())

    def peer(self) -> str:
        return self._peer

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...] | None:
        return self._metadata or None


def refusal(guard: Guard, caller: Caller) -> OsqueueError | None:
    try:
        admitted = guard.admit(caller.invocation_metadata())
        guard.check_place(caller)  # type: ignore[arg-type]
        return admitted if isinstance(admitted, OsqueueError) else None
    except OsqueueError as denied:
        return denied


LOCAL = ["ipv4:127.0.0.1:1", "ipv4:127.8.9.10:1", "ipv6:%5B::1%5D:1", "ipv6:[::1]:1", "ipv6:%5B::ffff:127.0.0.1%5D:1",
         "unix:/run/osqueue.sock", "unix:"]  # fmt: skip
REMOTE = ["ipv4:10.0.0.7:1", "ipv4:192.168.127.1:1", "ipv6:%5Bfe80::1%5D:1", "ipv6:%5B::ffff:10.0.0.7%5D:1",
          "ipv6:%5B::1:2%5D:1", "vsock:3:1", "unknown", ""]  # fmt: skip


@pytest.mark.parametrize("peer", LOCAL)
def test_loopback_is_local_peer(peer):
    assert is_local_peer(peer)
    assert refusal(Guard(), Caller(peer)) is None


@pytest.mark.parametrize("peer", REMOTE)
def test_everything_else_is_not(peer):
    assert not is_local_peer(peer)
    denied = refusal(Guard(), Caller(peer))
    assert isinstance(denied, PermissionDenied)
    assert "OSQUEUE_TOKEN" in denied.message and "OSQUEUE_ALLOW_REMOTE=1" in denied.message


@pytest.mark.parametrize("header", sorted(FORWARDING_HEADERS))
def test_a_forwarded_call_counts_as_remote(header):
    assert isinstance(refusal(Guard(), Caller(**{header.replace("-", "_"): "10.0.0.7"})), PermissionDenied)


def test_remote_callers_may_be_allowed_knowingly():
    assert refusal(Guard(allow_remote=True), Caller("ipv4:10.0.0.7:1")) is None


@pytest.mark.parametrize("value", ["Bearer s3cret", "bearer s3cret", "BEARER  s3cret "])
def test_the_token_opens_from_anywhere(value):
    assert refusal(Guard("s3cret"), Caller("ipv4:10.0.0.7:1", authorization=value)) is None


@pytest.mark.parametrize("value", ["Bearer s3cre", "Bearer s3cret2", "Bearer ", "Bearer sécret"])
def test_a_wrong_token_does_not(value):
    denied = refusal(Guard("s3cret"), Caller(authorization=value))
    assert isinstance(denied, Unauthenticated)
    assert "wrong" in denied.message and "s3cret" not in denied.message


@pytest.mark.parametrize("metadata", [{}, {"authorization": "Basic czNjcmV0"}, {"authorization": "s3cret"}])
def test_without_a_token_the_way_out_is_named(metadata):
    denied = refusal(Guard("s3cret"), Caller(**metadata))
    assert isinstance(denied, Unauthenticated)
    assert "authorization: Bearer" in denied.message


def test_a_token_is_asked_of_local_callers_too():
    assert isinstance(refusal(Guard("s3cret"), Caller("unix:")), Unauthenticated)


def test_allowing_remote_callers_does_not_switch_the_token_off():
    assert isinstance(refusal(Guard("s3cret", allow_remote=True), Caller()), Unauthenticated)
