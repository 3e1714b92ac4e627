"""Every limit of the gateway, by name, with what happens beyond it. docs/gateway.md is this table for readers."""

from dataclasses import dataclass, replace

from osqueue.api.json_text import JSON_DEPTH
from osqueue.api.queries import PARAMETERS_MAX

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """The caps of one gateway. `_ms` are milliseconds, `_bytes` bytes."""

    # One request. Beyond: 413 or 400, tagged.
    message_bytes: int = 4 * MIB
    """As protobuf; the broker's own limit, so that its callers hear the same everywhere."""
    body_bytes: int = 6 * MIB
    """As JSON text, which a WebSocket's message is too: a full message in base64 and its keys."""
    json_depth: int = JSON_DEPTH
    """Of a payload or result."""
    query_parameters: int = PARAMETERS_MAX

    # Time. Beyond: 408, or the connection is closed.
    head_ms: int = 10_000
    """From the first byte of a request, or from connecting, to the end of its headers."""
    body_ms: int = 30_000
    """For a request's body, or a WebSocket's message."""
    idle_ms: int = 75_000
    """Between two requests of one connection."""
    slow_reader_ms: int = 60_000
    """Without our being able to hand more of an answer to the network."""
    call_ms: int = 30_000
    """For the broker's answer; what a call may wait for by its own wish comes on top."""
    outage_ms: int = 2_000
    """For a broker to lead again: as long as a planned hand-over takes. Beyond: 503, and the caller tries again."""
    silence_ms: int = 1_000
    """Without a word from a broker that owes answers, until it is asked whether it lives. One that does not say so
    within a second is passed over, and its calls go to others."""
    drain_ms: int = 10_000
    """For calls under way when the gateway stops."""

    # At once. Beyond: 429, or for connections 503, and the connection is closed.
    connections: int = 8_192
    requests: int = 2_048
    """Calls under way that do not wait for anything but the broker."""
    waits: int = 6_144
    """Calls that wait for a job to come or to finish."""
    body_bytes_total: int = 128 * MIB
    """Of bodies being read and large answers being written, all together."""
    sockets: int = 2_048
    streams: int = 512
    """Of server-sent events, watches and state listings."""

    # One WebSocket. Beyond in flight: frames wait; beyond waiting: nothing more is read until there is room.
    socket_in_flight: int = 64
    socket_waiting: int = 1_024
    socket_waiting_bytes: int = 8 * MIB
    socket_waiting_bytes_total: int = 64 * MIB
    """Of all sockets together. Beyond: one that has frames waiting is read no further."""
    socket_watches: int = 16
    socket_ping_ms: int = 30_000
    """Between pings; a peer that answers none for half as long is gone."""
    event_comment_ms: int = 15_000
    """Between comments on a quiet stream of events, so that proxies keep it open."""

    def for_messages(self, message_bytes: int) -> "Limits":
        """The same for brokers that take messages of that size: as JSON they are up to half as long again, and two of
        them have room."""
        body_bytes = message_bytes + message_bytes // 2
        return replace(
            self,
            message_bytes=message_bytes,
            body_bytes=body_bytes,
            body_bytes_total=max(self.body_bytes_total, 2 * body_bytes),
        )


DEFAULT_LIMITS = Limits()
