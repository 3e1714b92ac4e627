"""Writes docs/rights.md: who may call what, from the table of RPCs by which broker and gateway decide."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from osqueue_protocol.rights import ANY, READ, ROLES, rights_of
from osqueue_protocol.rpcs import CLIENT_RPCS, Rpc

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "rights.md"

HEAD = """# Who may call what

`scripts/generate_rights.py` writes this page from the table by which brokers and gateways decide; tests call
each RPC and route with no token, a wrong one and each role. What scopes and roles are is told in
[security.md](security.md).

An RPC needs the same scope over gRPC, REST, WebSocket (the method of its name) and Connect (`/SERVICE/NAME`);
what streams, over server-sent events as well. `any` serves everybody who is let in. `submit` and `work` may
be bound to types, and every scope to queues: both are looked at as soon as a request is read.
"""

OPEN = """
## What is not an RPC

| what | needs |
|---|---|
| `/metrics` of a gateway | {read} |
| `/openapi.json`, `/docs`, `/v1/ws` | {any}; each call on a WebSocket needs what its RPC does |
| `/healthz`, `/readyz`, the dashboard's files | nothing: they show no data |
| grpc.health.v1, server reflection | nothing, and {any} |
| a broker's own `/metrics` (`BROKER_METRICS_PORT`) | nothing: let only monitoring reach that port |
"""


def render() -> str:
    """The page."""
    return HEAD + "".join(_service(name) for name in _services()) + OPEN.format(read=f"`{READ}`", any=f"`{ANY}`")


def _services() -> list[str]:
    return list(dict.fromkeys(rpc.service for rpc in CLIENT_RPCS.values()))


def _service(name: str) -> str:
    rows = "\n".join(_rows([rpc for rpc in CLIENT_RPCS.values() if rpc.service == name]))
    return f"\n## {name.rpartition('.')[2]}\n\n{rows}\n"


def _rows(rpcs: list[Rpc]) -> Iterator[str]:
    yield f"| RPC | scope | {' | '.join(ROLES)} | REST |"
    yield "|---" * (3 + len(ROLES)) + "|"
    for rpc in sorted(rpcs, key=lambda rpc: rpc.name):
        may = " | ".join("yes" if rights_of([role]).may(rpc.scope) else "" for role in ROLES)
        routes = ", ".join(f"`{route.method} {route.path}`" for route in rpc.routes)
        yield f"| {rpc.name} | `{rpc.scope}` | {may} | {routes} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the committed page is not what the code yields")
    check = parser.parse_args().check
    if not check:
        TARGET.write_text(render())
    elif not TARGET.exists() or render() != TARGET.read_text():
        raise SystemExit(f"{TARGET.relative_to(ROOT)} is stale; run `make configuration`")


if __name__ == "__main__":
    main()
