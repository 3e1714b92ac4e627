"""The parts of the law that the linter cannot name: an event loop's own clock and timers."""

import ast
from pathlib import Path

import pytest

BROKER = Path(__file__).resolve().parents[2] / "osqueue_service"
MAY_USE_THE_LOOP = {BROKER / "clock.py"}

LOOP_METHODS = {"call_later", "call_at"}


def violations(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        method = node.func.attr
        if method in LOOP_METHODS or (method == "time" and not node.args and not node.keywords):
            found.append(f"line {node.lineno}: .{method}(); take a Clock")
        if ast.unparse(node.func) == "asyncio.wait" and any(keyword.arg == "timeout" for keyword in node.keywords):
            found.append(f"line {node.lineno}: asyncio.wait(timeout=...); use Clock.within_ms")
    return found


@pytest.mark.parametrize(
    "source",
    ["loop.time()", "asyncio.get_running_loop().call_later(1, f)", "loop.call_at(1, f)", "asyncio.wait(s, timeout=1)"],
)
def test_a_violation_is_seen(source):
    assert violations(source)


@pytest.mark.parametrize("source", ["clock.monotonic_ms()", "clock.call_later_ms(1, f)", "asyncio.wait(s)"])
def test_injected_time_is_allowed(source):
    assert not violations(source)


def test_the_broker_takes_its_time_from_the_clock():
    modules = [path for path in BROKER.rglob("*.py") if path not in MAY_USE_THE_LOOP]
    assert modules
    assert {str(path.relative_to(BROKER)): found for path in modules if (found := violations(path.read_text()))} == {}
