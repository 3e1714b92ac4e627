"""Figures beside what they must reach."""

import os
import platform
import sys
from dataclasses import dataclass, field


@dataclass
class Report:
    """Lines of one run. A figure with a bound that it misses makes the run fail."""

    missed: list[str] = field(default_factory=list)

    def title(self, text: str) -> None:
        print(f"\n{text}\n{'-' * len(text)}", flush=True)

    def note(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def figure(
        self, name: str, value: float, unit: str, *, at_least: float | None = None, at_most: float | None = None
    ) -> None:
        """One measured value; `at_least` and `at_most` are what it must reach."""
        bound = ""
        if at_least is not None or at_most is not None:
            met = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
            wanted = f">= {at_least:,.6g}" if at_least is not None else f"<= {at_most:,.6g}"
            bound = f"   {wanted:>12}  {'ok' if met else 'MISSED'}"
            if not met:
                self.missed.append(name)
        print(f"  {name:<62} {value:>14,.2f} {unit:<10}{bound}", flush=True)

    def machine(self) -> None:
        print(
            f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores, "
            f"{platform.system()} {platform.machine()}, {sys.flags.optimize=}"
        )


def rss_bytes() -> int:
    """Resident memory of this process."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
