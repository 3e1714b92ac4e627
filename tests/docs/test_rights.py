"""docs/rights.md is what the table of RPCs says."""

from osqueue_protocol.rpcs import CLIENT_RPCS
from scripts.generate_rights import TARGET, render


def test_the_page_is_fresh():
    assert TARGET.read_text() == render(), "run `make configuration`"


def test_every_rpc_and_route_is_on_it():
    page = TARGET.read_text()
    for rpc in CLIENT_RPCS.values():
        assert f"| {rpc.name} | `{rpc.scope}` |" in page
        assert all(f"`{route.method} {route.path}`" in page for route in rpc.routes)
