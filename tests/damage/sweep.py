"""A store with one damaged object, read as a start reads it: the same state, or a refusal that names the object.

`verify` must agree: what keeps a queue from starting is an error of that object, and no damage is called harmless that
a start or a way back in time would stumble over.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from unittest.mock import patch

from osqueue_service.engine.rebuild import Rebuild
from osqueue_service.errors import CorruptObject
from osqueue_service.leadership import term
from osqueue_service.log import checkpoints
from osqueue_service.log.reader import Reader, Reading
from osqueue_service.log.verification import verify
from osqueue_service.state import image
from tests.damage.mutations import flip, mutated
from tests.lived_queue import LivedQueue
from tests.shelf import Shelf

DAMAGED_MAX = 64 * 1024
"""Of larger bodies not every bit is flipped, but one in each block of this many bytes."""
BLOCK_BYTES = 512
HEADER_BYTES = 160


@dataclass
class Findings:
    """What was seen."""

    tried: int = 0
    refused: int = 0
    verified: int = 0
    by_object: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count:,} of {kind}" for kind, count in sorted(self.by_object.items()))
        return f"{self.tried:,} damaged stores ({kinds}): {self.refused:,} refused, {self.verified:,} verified"


class Sweep:
    """One store, damaged again and again."""

    def __init__(self, objects: dict[str, bytes], findings: Findings) -> None:
        self.shelf = Shelf(objects)
        self.findings = findings
        self._settler = self.shelf.settler()
        self._state: list[bytes] = []

    async def prepare(self) -> None:
        """What the store holds while it is whole."""
        rebuild = Rebuild()
        assert isinstance(await Reader(self._settler).read(rebuild), Reading)
        self._state = image.encode(rebuild.state)
        report = await verify(self._settler, Rebuild())
        assert report.sound and not report.findings, report.findings

    def every_bit(self) -> Iterator[tuple[str, bytes]]:
        """All bits of small objects and of headers, one of each block of larger bodies."""
        for key, body in self.shelf.objects.items():
            small = len(body) <= DAMAGED_MAX
            bits = range(8 * (len(body) if small else HEADER_BYTES))
            for bit in bits:
                yield key, flip(body, bit)
            for block in range(0, 0 if small else len(body), BLOCK_BYTES):
                yield key, flip(body, 8 * block + block // BLOCK_BYTES % 8)

    def at_random(self, count: int, draw: random.Random) -> Iterator[tuple[str, bytes]]:
        """Mutations of objects of every kind, as many of each."""
        kinds = sorted({key.partition("/")[0] for key in self.shelf.keys})
        of_kind = {kind: [key for key in self.shelf.keys if key.partition("/")[0] == kind] for kind in kinds}
        for _ in range(count):
            key = draw.choice(of_kind[draw.choice(kinds)])
            yield key, mutated(self.shelf.objects[key], draw)

    async def try_one(self, key: str, damaged: bytes, *, verified: bool) -> None:
        """Read the store with this object damaged, and hold what comes of it against what may."""
        self.shelf.key, self.shelf.damaged = key, damaged
        findings = self.findings
        findings.tried += 1
        findings.by_object[key.partition("/")[0]] += 1
        named = await self._started()
        if named is not None:
            findings.refused += 1
            if named != key:
                self._problem(key, f"a start blames {named}")
        if verified:
            findings.verified += 1
            await self._verify(key, named is not None)

    async def _started(self) -> str | None:
        """The object that a start names when it refuses; None when the state is the same."""
        rebuild = Rebuild()
        try:
            reading = await Reader(self._settler).read(rebuild)
            lost = None if not isinstance(reading, Reading) else await reading.replay.lost_at_gap()
        except CorruptObject as corrupt:
            return corrupt.key
        except Exception as error:  # noqa: BLE001
            self._problem(self.shelf.key, f"a start raises {error!r}")
            return self.shelf.key
        if lost is not None:
            return lost.key
        if not isinstance(reading, Reading) or image.encode(rebuild.state) != self._state:
            self._problem(self.shelf.key, "a start has another state")
        return None

    async def _verify(self, key: str, refused: bool) -> None:
        try:
            report = await verify(self._settler, Rebuild())
        except Exception as error:  # noqa: BLE001
            self._problem(key, f"verify raises {error!r}")
            return
        if report.sound is refused:
            self._problem(key, f"verify calls it {'sound' if report.sound else 'not sound'}, and a start does not")
        if key not in {found.key for found in report.findings}:
            self._problem(key, f"verify does not name it, but {report.findings}")

    def _problem(self, key: str, what: str) -> None:
        if len(self.findings.problems) < 100:
            self.findings.problems.append(f"{key}: {what}; its bytes: {self.shelf.damaged[:300]!r}")


async def stores() -> list[dict[str, bytes]]:
    """Stores of every form: nothing but a log, a state in the root, a state in several objects; with and without a way
    back in time."""
    found = []
    for form in FORMS:
        with (
            patch.object(checkpoints, "PART_BYTES", 8 * 1024),
            patch.object(term, "INLINE_BYTES_MAX", form.inline_bytes),
        ):
            found.append(await _store(form))
    return found


class Form(NamedTuple):
    """What a store shall be like."""

    checkpoints: int
    inline_bytes: int
    payload_bytes: int
    retention_ms: int


FORMS = (
    Form(0, 256 * 1024, 20, 0),
    Form(1, 256 * 1024, 20, 0),
    Form(1, 1_000, 3_000, 0),
    Form(2, 256 * 1024, 60, 10**9),
    Form(2, 1_000, 3_000, 10**9),
)


async def _store(form: Form) -> dict[str, bytes]:
    queue = LivedQueue(sum(form), form.retention_ms, form.payload_bytes)
    await queue.lead()
    for _ in range(form.checkpoints):
        for _ in range(6):
            queue.change()
            await queue.commit()
        await queue.checkpoint()
    await queue.term.hand_over()
    await queue.lead()
    for _ in range(4):
        queue.change()
        await queue.commit()
    await queue.term.hand_over()
    keys = queue.bucket.keys_after("", "", 10_000)
    return {key: stored.body for key in keys if (stored := queue.bucket.get(key)) is not None}
