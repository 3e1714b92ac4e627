"""A small explicit-state model checker: every state that any order of steps can reach, breadth first.

A model says where it begins, which steps each state allows, and what must hold. States are tuples, so that equal
futures are equal states; what is found first is therefore reached by the fewest steps, and the trace to it is the
shortest there is.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

S = TypeVar("S")

Step = tuple[str, S]
"""What happened, in words, and the state it led to."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an exploration came to. `violation` is "" where every reachable state is as it must be."""

    states: int
    depth: int
    exhausted: bool
    """False: the limit of states was reached before all had been seen."""
    violation: str = ""
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        how_far = "all" if self.exhausted else "the first"
        if not self.violation:
            return f"clean: {how_far} {self.states:,} states, {self.depth} steps deep"
        steps = "".join(f"\n  {number:2d}. {step}" for number, step in enumerate(self.trace, 1))
        return f"{self.violation}, after {len(self.trace)} steps ({self.states:,} states){steps}"


class Exploration(Generic[S]):
    """One model, explored. `broken` names what is wrong with a state; "" when nothing is."""

    def __init__(self, start: S, steps: Callable[[S], Iterable[Step[S]]], broken: Callable[[S], str]) -> None:
        self._start = start
        self._steps = steps
        self._broken = broken
        self._came_from: dict[S, tuple[str, S] | None] = {}

    def run(self, *, limit: int) -> Verdict:
        """See every state, at most `limit` of them."""
        self._came_from = {self._start: None}
        frontier, depth = [self._start], 0
        while frontier:
            reached: list[S] = []
            for state in frontier:
                for what, following in self._steps(state):
                    if following in self._came_from:
                        continue
                    self._came_from[following] = (what, state)
                    violation = self._broken(following)
                    if violation:
                        return Verdict(len(self._came_from), depth + 1, False, violation, self._trace(following))
                    reached.append(following)
                if len(self._came_from) >= limit:
                    return Verdict(len(self._came_from), depth, False)
            frontier, depth = reached, depth + bool(reached)
        return Verdict(len(self._came_from), depth, True)

    def _trace(self, state: S) -> tuple[str, ...]:
        steps: list[str] = []
        while (origin := self._came_from[state]) is not None:
            steps.append(origin[0])
            state = origin[1]
        return tuple(reversed(steps))
