"""How long a cloud store's answer may take."""

CONNECT_SECONDS = 2
READ_SECONDS = 20

PUT_SECONDS = ((1 << 20, 5), (16 << 20, 30), (256 << 20, 180), (5 << 30, 1_800))
"""How long the answer to a put may take, by the largest body it holds for: at least one megabyte
a second, and five seconds for a commit. Above the last size no store takes a single put."""


def put_seconds(size: int) -> int:
    """The limit for a body of `size` bytes."""
    return next((seconds for largest, seconds in PUT_SECONDS if size <= largest), PUT_SECONDS[-1][1])
