"""The gateway's own figures, in the text form of Prometheus."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

PREFIX = "osqueue_gateway_"

EVENTS = {
    "connections_refused": "Connections closed because there were too many.",
    "connections_given_up": "Connections without a request closed because others needed the room.",
    "heads_expired": "Connections closed because a request's head did not arrive in time.",
    "messages_given_up": "WebSockets closed because a message did not arrive whole in time, or had no room.",
    "slow_readers_dropped": "Connections closed because the peer did not read its answers.",
    "malformed_requests": "Requests that were not HTTP.",
    "callers_gone": "Calls whose caller went away before the answer.",
    "events_dropped": "Streams of events that ended with an error.",
    "states_cut_off": "State listings that broke off.",
}
"""Counted things without labels, by name."""

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Counters, a histogram per call, and figures that are read when asked for."""

    def __init__(self) -> None:
        self._events: Counter[str] = Counter()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._times: dict[str, _Times] = {}
        self._shown: dict[str, tuple[str, str, Callable[[], float]]] = {}
        self._beside: list[Callable[[], Iterable[str]]] = []

    def count(self, event: str, by: int = 1) -> None:
        """One more of `EVENTS`."""
        self._events[event] += by

    def counted(self, event: str) -> int:
        """How many there were."""
        return self._events[event]

    def answered(self, transport: str, call: str, status: int, seconds: float | None) -> None:
        """A call was answered: `transport` is rest, ws or connect, `call` the RPC or page, `status` as in HTTP.
        `seconds` is None for what lasts as long as its caller likes."""
        self._requests[transport, call, status] += 1
        if seconds is not None:
            times = self._times.get(call)
            if times is None:
                times = self._times[call] = _Times()
            times.add(seconds)

    def show(self, name: str, about: str, read: Callable[[], float], kind: str = "gauge") -> None:
        """Show what `read` returns: a "gauge", or a "counter" that never falls."""
        self._shown[name] = (kind, about, read)

    def beside(self, pieces: Callable[[], Iterable[str]]) -> None:
        """Show these on the page, too: those of a broker in the same process."""
        self._beside.append(pieces)

    def pieces(self) -> Iterator[str]:
        """The page piece by piece: none takes long."""
        yield "\n".join([*self._lines(), ""])
        for pieces in self._beside:
            yield from pieces()

    def render(self) -> bytes:
        """The page."""
        return "".join(self.pieces()).encode()

    def _lines(self) -> Iterator[str]:
        yield from _head("requests_total", "counter", "Calls answered, by transport, call and HTTP status.")
        for (transport, call, status), count in sorted(self._requests.items()):
            yield f'{PREFIX}requests_total{{transport="{transport}",call="{call}",status="{status}"}} {count}'
        yield from _head("request_seconds", "histogram", "Time from a call's arrival to its answer, waits included.")
        for call, times in sorted(self._times.items()):
            yield from times.lines(f'call="{call}"')
        for event, about in EVENTS.items():
            yield from _head(f"{event}_total", "counter", about)
            yield f"{PREFIX}{event}_total {self._events[event]}"
        for name, (kind, about, read) in self._shown.items():
            yield from _head(name, kind, about)
            yield f"{PREFIX}{name} {read():g}"


class _Times:
    """How long one kind of call took."""

    __slots__ = ("_buckets", "_seconds")

    def __init__(self) -> None:
        self._buckets = [0] * (len(BUCKETS_S) + 1)
        self._seconds = 0.0

    def add(self, seconds: float) -> None:
        self._buckets[bisect_left(BUCKETS_S, seconds)] += 1
        self._seconds += seconds

    def lines(self, label: str) -> Iterator[str]:
        total = 0
        for bound, count in zip((*BUCKETS_S, "+Inf"), self._buckets, strict=True):
            total += count
            yield f'{PREFIX}request_seconds_bucket{{{label},le="{bound}"}} {total}'
        yield f"{PREFIX}request_seconds_sum{{{label}}} {self._seconds:.6f}"
        yield f"{PREFIX}request_seconds_count{{{label}}} {total}"


def _head(name: str, kind: str, about: str) -> Iterator[str]:
    yield f"# HELP {PREFIX}{name} {about}"
    yield f"# TYPE {PREFIX}{name} {kind}"
