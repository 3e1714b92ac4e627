"""A script that turns a CSV file into jobs: `python import_customers.py customers.csv`.

It may be run again, after a crash in the middle or by mistake: each row has a key, and becomes one job.
"""

import csv
import sys
from collections.abc import Iterator

from osqueue import JobSpec, OsqueueError, SyncClient, new_job


def jobs(path: str) -> Iterator[JobSpec]:
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            yield new_job("welcome", row, idempotency_key=f"welcome-{row['email']}")


def main(path: str) -> int:
    with SyncClient() as client:
        answers = client.submit_jobs(jobs(path), atomic=False)  # each for itself; all are durable when it returns
    refused = [answer for answer in answers if isinstance(answer, OsqueueError)]
    for error in refused:
        print(f"refused: {error}", file=sys.stderr)
    accepted = [answer for answer in answers if not isinstance(answer, OsqueueError)]
    known = sum(job.deduplicated for job in accepted)
    print(f"{len(accepted) - known} jobs are new, {known} were there already, {len(refused)} were refused")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
