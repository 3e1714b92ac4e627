"""osqueue beside BullMQ, SAQ, Dramatiq and Celery, in one run on one machine; README.md says what is compared.

Needs what scripts/install_field.sh installs, and redis-server; what is missing is named and left out.
"""

import json
import subprocess
from collections.abc import Sequence

from benchmarks.field.contenders import OSQUEUE, Contender, others
from benchmarks.report import Report

SUBMIT_SECONDS = 2
ROUNDS = 3
SECONDS_MAX = 120
SUBMITTED_AT_LEAST = 20_000
WORKED_AT_LEAST = 10_000


def run(report: Report) -> None:
    """Every contender in turn, in several rounds; the best of each counts."""
    report.title("The field: one client with 256 concurrent submits, one worker with handlers that do nothing")
    field, missing = others()
    if missing:
        report.note(f"not installed, so left out: {', '.join(missing)} (scripts/install_field.sh)")
    contenders = [OSQUEUE, *field]
    submitted = dict.fromkeys([one.name for one in contenders], 0.0)
    worked = submitted.copy()
    alone = 0.0
    for _ in range(ROUNDS):
        for contender in contenders:
            with contender.server() as address:
                jobs, rate = _measure(contender, "submit", address, SUBMIT_SECONDS)
                submitted[contender.name] = max(submitted[contender.name], rate)
                _, rate = _measure(contender, "work", address, jobs)
                worked[contender.name] = max(worked[contender.name], rate)
        with OSQUEUE.server() as address:
            alone = max(alone, _measure(OSQUEUE, "submit-alone", address, SUBMIT_SECONDS)[1])
    _tell(report, "submits", submitted, SUBMITTED_AT_LEAST)
    report.figure("submits, osqueue without coalescing", alone, "jobs/s")
    report.figure("  coalescing / without", submitted[OSQUEUE.name] / alone, "x")
    _tell(report, "jobs done", worked, WORKED_AT_LEAST)


def _tell(report: Report, what: str, rates: dict[str, float], at_least: float) -> None:
    ours = rates[OSQUEUE.name]
    report.figure(f"{what}, osqueue", ours, "jobs/s", at_least=at_least)
    for name, rate in rates.items():
        if name != OSQUEUE.name:
            report.figure(f"{what}, {name}", rate, "jobs/s")
            report.figure(f"  osqueue / {name}", ours / rate, "x")


def _measure(contender: Contender, mode: str, address: str, argument: int) -> tuple[int, float]:
    """(jobs, jobs per second) of one process."""
    command: Sequence[str] = [*contender.command, mode, address, str(argument)]
    ran = subprocess.run(
        command, cwd=contender.folder, stdout=subprocess.PIPE, text=True, timeout=SECONDS_MAX, check=True
    )
    told = json.loads(ran.stdout.splitlines()[-1])
    return told["jobs"], told["jobs"] / told["seconds"]
