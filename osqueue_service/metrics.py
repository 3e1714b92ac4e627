"""The figures of this process in the text format that Prometheus and its kin read.

Figures live where they arise, as plain numbers. A collector turns them into families when
somebody looks, so that counting costs an addition and nothing is counted twice.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Upper bounds of the duration buckets in seconds: from a call that needs no commit to a long poll's end.
DURATION_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

Labels = Mapping[str, str]


@dataclass(slots=True)
class Family:
    """One metric with its samples: (suffix of the name, labels, value)."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: list[tuple[str, Labels, float]] = field(default_factory=list)

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
    """How long things took, in buckets."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(DURATION_BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, duration_s: float) -> None:
        self.counts[bisect_left(DURATION_BOUNDS_S, duration_s)] += 1
        self.sum_s += duration_s

    def samples(self, **labels: str) -> Iterator[tuple[str, Labels, float]]:
        """What a family of kind histogram shows of it."""
        so_far = 0
        for bound, count in zip(DURATION_BOUNDS_S, self.counts, strict=False):
            so_far += count
            yield "_bucket", {**labels, "le": f"{bound:g}"}, so_far
        total = so_far + self.counts[-1]
        yield "_bucket", {**labels, "le": "+Inf"}, total
        yield "_sum", labels, self.sum_s
        yield "_count", labels, total


Collector = Callable[[], Iterable[Family]]


class Registry:
    """All collectors of a process."""

    def __init__(self) -> None:
        self._collectors: list[Collector] = []

    def add(self, collector: Collector) -> None:
        """Ask this one too."""
        self._collectors.append(collector)

    def render(self) -> str:
        """Everything, as it is now."""
        return "".join(_text(family) for collect in self._collectors for family in collect())


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


def _text(family: Family) -> str:
    lines = [f"# HELP {family.name} {_escaped(family.help)}", f"# TYPE {family.name} {family.kind}"]
    for suffix, labels, value in family.samples:
        shown = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        lines.append(
            f"{family.name}{suffix}{{{shown}}} {value:.17g}" if shown else f"{family.name}{suffix} {value:.17g}"
        )
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
