"""`python -m benchmarks [name ...]`: run all benchmarks, or those named."""

import importlib
import sys

from benchmarks.report import Report

# In the order of the promises they measure; each is a module with `run(report)`.
NAMES = (
    "serving",
    "dispatch",
    "limits",
    "gateway",
    "sdk",
    "scaling",
    "memory",
    "checkpoints",
    "failover",
    "schedules",
    "graphs",
    "metrics",
    "field",
)


def main(names: list[str]) -> int:
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        print(f"unknown benchmark {', '.join(unknown)}; there are: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    report = Report()
    report.machine()
    for name in names or NAMES:
        importlib.import_module(f"benchmarks.{name}").run(report)
    if report.missed:
        print(f"\n{len(report.missed)} figures missed their bound: {'; '.join(report.missed)}")
        return 1
    print("\nall figures within their bounds")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
