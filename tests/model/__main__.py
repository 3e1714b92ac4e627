"""`python -m tests.model`: explore the models as far as a long run can, and print what was seen."""

import sys

from tests.model.lanes import Lanes
from tests.model.lending import Lending
from tests.model.members import Members

STATES_MAX = 3_000_000

FAR = (
    Members(heal_every=500),
    Members(moves=True, crashes=0, heal_every=500),
    Members(operator=True, deletions=1, epochs=2, renewals=1, heal_every=500),
    Members(lives=3, epochs=2, renewals=1, heal_every=500),
    Lending(renewals=2, leaves=True, epochs=3, queue_epochs=4),
    Lending(processes=3, epochs=3),
    Lanes(commands=2, depth=2),
    Lanes(commands=2, deletes=True),
    Lanes(commands=1, epochs=4),
    Lanes(commands=1, processes=3),
)


def main() -> int:
    broken = 0
    for model in FAR:
        verdict = model.explore(STATES_MAX)
        print(f"{model}\n  {verdict}", flush=True)
        broken += bool(verdict.violation)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
