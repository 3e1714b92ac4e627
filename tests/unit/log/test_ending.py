"""Why something ended: told once, heard by many."""

import asyncio

import pytest

from osqueue_service.log import Ending
from tests.unit.log.virtual import run


def test_only_the_first_reason_counts() -> None:
    async def scenario() -> None:
        ending, heard = Ending(), []
        ending.listen(heard.append)
        assert not ending.over
        with pytest.raises(AssertionError):
            ending.result()
        first = ValueError("first")
        assert ending.set(first)
        assert not ending.set(ValueError("second"))
        ending.listen(heard.append)
        assert heard == [first, first]
        assert ending.over
        assert ending.result() is first
        assert await ending is first

    run(scenario())


def test_a_waiter_that_is_cancelled_disturbs_no_other() -> None:
    async def scenario() -> None:
        ending = Ending()

        async def wait() -> Exception:
            return await ending

        gone, stays = asyncio.ensure_future(wait()), asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait({gone})
        assert gone.cancelled()
        reason = ValueError("over")
        ending.set(reason)
        assert await stays is reason

    run(scenario())
