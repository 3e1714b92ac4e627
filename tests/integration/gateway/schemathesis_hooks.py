"""Loaded by schemathesis: calls may wait as long as they ask for, and a test has no time for that."""

from typing import Any

import schemathesis

WAIT_MS = 20


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    case.body = impatient(case.body)
    case.query = impatient(case.query)


def impatient(values: Any) -> Any:
    """The same values with a short wait; in a query, and in proto's JSON, a number may be written as text."""
    wait_ms = values.get("waitMs") if isinstance(values, dict) else None
    if isinstance(wait_ms, str) and wait_ms.isdecimal():
        wait_ms = int(wait_ms)
    if isinstance(wait_ms, int | float) and wait_ms > WAIT_MS:
        return {**values, "waitMs": WAIT_MS}
    return values
