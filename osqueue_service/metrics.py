"""The figures of this process in the text format that Prometheus and its kin read.

Figures live where they arise, as plain numbers. A collector turns them into families when
somebody looks, so that counting costs an addition and nothing is counted twice.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Upper bounds of the duration buckets in seconds: from a call that needs no commit to a long poll's end.
DURATION_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

Labels = Mapping[str, str]

Sample = tuple[str, Labels, float]
"""(suffix of the name, labels, value)"""


@dataclass(slots=True)
class Family:
    """One metric with its samples."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: list[Sample] = field(default_factory=list)
    more: Iterable[str] = ()
    """The rest of a large family as it is shown, computed meanwhile. An empty piece: it took a step, and goes on."""

    def add(self, value: float, **labels: str) -> "Family":
        """One more sample; returns the family."""
        self.samples.append(("", labels, value))
        return self


def counter(name: str, help: str) -> Family:
    """A figure that only rises; its name ends in `_total`."""
    return Family(name, "counter", help)


def gauge(name: str, help: str) -> Family:
    """A figure that rises and falls."""
    return Family(name, "gauge", help)


class Durations:
    """How long things took, in buckets with these upper bounds (s)."""

    __slots__ = ("_bounds", "_bounds_ms", "counts", "sum_s")

    def __init__(self, bounds: tuple[float, ...] = DURATION_BOUNDS_S) -> None:
        self._bounds = bounds
        self._bounds_ms = [bound * 1_000 for bound in bounds]
        self.counts = [0] * (len(bounds) + 1)
        self.sum_s = 0.0

    def observe(self, duration_s: float) -> None:
        self.counts[bisect_left(self._bounds, duration_s)] += 1
        self.sum_s += duration_s

    def observe_ms(self, durations_ms: Sequence[int]) -> None:
        """Count these; what took less than nothing (clocks were slewed) counts among the shortest."""
        counts, bounds = self.counts, self._bounds_ms
        for duration in durations_ms:
            counts[bisect_left(bounds, duration)] += 1
        self.sum_s += max(0, sum(durations_ms)) / 1_000

    def merge(self, other: "Durations") -> None:
        """Count all that the other, of the same bounds, counted, too."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum_s += other.sum_s

    def samples(self, **labels: str) -> Iterator[Sample]:
        """What a family of kind histogram shows of it."""
        so_far = 0
        for bound, count in zip(self._bounds, self.counts, strict=False):
            so_far += count
            yield "_bucket", {**labels, "le": f"{bound:g}"}, so_far
        total = so_far + self.counts[-1]
        yield "_bucket", {**labels, "le": "+Inf"}, total
        yield "_sum", labels, self.sum_s
        yield "_count", labels, total

    def text(self, name: str, label: str, value: str) -> str:
        """The same as a piece of a large family, under one label."""
        labels = f'{label}="{_escaped(value)}"'
        shown = [
            f'{name}_bucket{{{labels},le="{bound:g}"}} {so_far}\n'
            for bound, so_far in zip(self._bounds, accumulate(self.counts), strict=False)
        ]
        total = sum(self.counts)
        return "".join(shown) + (
            f'{name}_bucket{{{labels},le="+Inf"}} {total}\n'
            f"{name}_sum{{{labels}}} {self.sum_s:.17g}\n{name}_count{{{labels}}} {total}\n"
        )


Collector = Callable[[], Iterable[Family]]


class Registry:
    """All collectors of a process."""

    def __init__(self) -> None:
        self._collectors: list[Collector] = []

    def add(self, collector: Collector) -> None:
        """Ask this one too."""
        self._collectors.append(collector)

    def pieces(self) -> Iterator[str]:
        """Everything, as it is now, piece by piece: none takes long, and other work may be done between two."""
        for collect in self._collectors:
            for family in collect():
                yield from _text(family)

    def render(self) -> str:
        """Everything, as it is now."""
        return "".join(self.pieces())


class Calls:
    """The calls that a server answered: how many by method and outcome, and how long they took."""

    def __init__(self) -> None:
        self._outcomes: dict[tuple[str, str], int] = {}
        self._durations: dict[str, Durations] = {}
        self.defects = 0
        """Calls that ended in an error nobody foresaw; each was logged."""

    def ended(self, method: str, outcome: str, duration_ms: float) -> None:
        """A call came to its end: "OK", a reason, or "CANCELLED" by its caller."""
        key = (method, outcome)
        self._outcomes[key] = self._outcomes.get(key, 0) + 1
        durations = self._durations.get(method)
        if durations is None:
            durations = self._durations[method] = Durations()
        durations.observe(duration_ms / 1_000)

    def count(self, method: str, outcome: str) -> int:
        """How many calls of the method came to this end."""
        return self._outcomes.get((method, outcome), 0)

    def families(self) -> list[Family]:
        calls = counter("osqueue_rpc_calls_total", "Calls answered, by method and outcome.")
        for (method, outcome), count in sorted(self._outcomes.items()):
            calls.add(count, method=method, outcome=outcome)
        durations = Family(
            "osqueue_rpc_duration_seconds", "histogram", "How long calls took; long polls wait on purpose."
        )
        for method, observed in sorted(self._durations.items()):
            durations.samples += observed.samples(method=method)
        defects = counter("osqueue_rpc_defects_total", "Calls that ended in an unforeseen error; the log has each.")
        return [calls, durations, defects.add(self.defects)]


def _text(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {_escaped(family.help)}\n# TYPE {family.name} {family.kind}\n"
    for suffix, labels, value in family.samples:
        yield line(f"{family.name}{suffix}", labels, value)
    yield from family.more


def line(name: str, labels: Labels, value: float) -> str:
    """One sample as it is shown."""
    if not labels:
        return f"{name} {value:.17g}\n"
    shown = ",".join([f'{label}="{_escaped(text)}"' for label, text in labels.items()])
    return f"{name}{{{shown}}} {value:.17g}\n"


def _escaped(text: str) -> str:
    if text.isalnum():
        return text
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
