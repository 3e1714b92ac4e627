"""A sample of what `python -m tests.damage` does a million times: damage is refused by name, or changes nothing."""

import asyncio
import random

import msgspec
import pytest

from osqueue_service.log import Root
from tests.damage.sweep import Findings, Sweep, stores
from tests.unit.log.virtual import run

BITS_EVERY = 977
MUTATIONS = 300


@pytest.fixture(scope="module")
def whole() -> list[dict[str, bytes]]:
    return run(stores())


def tried(objects: dict[str, bytes], *, bits_every: int = BITS_EVERY, mutations: int = MUTATIONS) -> Findings:
    async def sweep_it() -> Findings:
        sweep = Sweep(objects, Findings())
        await sweep.prepare()
        for number, (key, damaged) in enumerate(sweep.every_bit()):
            if number % bits_every == 0:
                await sweep.try_one(key, damaged, verified=number % (10 * bits_every) == 0)
        for number, (key, damaged) in enumerate(sweep.at_random(mutations, random.Random(len(objects)))):
            await sweep.try_one(key, damaged, verified=number % 10 == 0)
        return sweep.findings

    return asyncio.run(sweep_it())


@pytest.mark.parametrize("number", range(5))
def test_damage_is_refused_by_name_or_changes_nothing(whole: list[dict[str, bytes]], number: int) -> None:
    findings = tried(whole[number])
    assert not findings.problems
    assert findings.refused > MUTATIONS / 5


def test_the_stores_have_objects_of_every_kind(whole: list[dict[str, bytes]]) -> None:
    kinds = [{key.partition("/")[0] for key in objects} for objects in whole]
    assert kinds[0] == {"queue.json", "log"}
    assert kinds[2] == {"queue.json", "log", "checkpoints"}
    assert kinds[4] == {"queue.json", "log", "checkpoints", "restore"}
    assert sum(key.startswith("checkpoints/") for key in whole[2]) > 1


def unsealed(body: bytes) -> Root:
    """What a root says, whether that is what was written or not."""
    return msgspec.json.decode(body[: body.rindex(b',"seal"')] + b"}", type=Root)


def test_the_sweep_sees_a_check_that_is_left_out(
    whole: list[dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osqueue_service.log.reader.decode_root", unsealed)
    problems = "\n".join(tried(whole[1], bits_every=89).problems)
    assert "queue.json: a start raises" in problems
    assert "queue.json: a start blames log/" in problems
