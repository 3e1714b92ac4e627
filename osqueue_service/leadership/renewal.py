"""Renewing the root, from the moment it is taken until the term ends."""

import asyncio

from osqueue_service.leadership.held_root import Heartbeat, HeldRoot
from osqueue_service.log import Ending, Settler


class Renewal:
    """Renews the root every interval; `lost` resolves with the reason when that is no longer possible.

    A candidate renews too, while it loads and replays: other standbys would otherwise
    depose it, and one another, for ever.
    """

    def __init__(self, settler: Settler, heartbeat: Heartbeat, held: HeldRoot) -> None:
        self.lost = Ending()
        self._clock = settler.clock
        self._interval_ms = heartbeat.interval_ms
        self._held = held
        self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """Stop renewing. A renewal under way may still land."""
        self._task.cancel()

    async def _run(self) -> None:
        due_ms = self._clock.monotonic_ms()
        try:
            while True:
                # From start to start, so that slow puts do not stretch the interval; missed ones are not made up for.
                due_ms = max(due_ms + self._interval_ms, self._clock.monotonic_ms())
                await self._clock.sleep_ms(due_ms - self._clock.monotonic_ms())
                await self._held.swap(lambda root: root)
        except Exception as reason:  # noqa: BLE001
            # Deposed, refused by the store for good, or a bug: whose term it is decides, and is told why.
            self.lost.set(reason)
