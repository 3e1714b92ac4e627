"""What a record may rely on: a state that it fits."""


class BrokenRecord(Exception):
    """A record contradicts the state it is applied to."""


def require(condition: bool, problem: str) -> None:
    """Raise `BrokenRecord` unless the condition holds."""
    if not condition:
        raise BrokenRecord(problem)
