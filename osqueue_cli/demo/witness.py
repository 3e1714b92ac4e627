"""What the workers say they did, line by line."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from osqueue_cli.demo.tally import Tally
from osqueue_cli.processes import Child


@dataclass(slots=True)
class Witness:
    """The workers' own account, as heard from their output."""

    tally: Tally
    changed: Callable[[], None]
    """Called when there is something new to show."""
    runs: Counter[str] = field(default_factory=Counter)
    """How often which job's handler has run to its end."""
    acknowledged: set[str] = field(default_factory=set)
    """Jobs whose completion the broker has acknowledged."""
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self, worker: Child) -> None:
        """Hear a worker out, to the end of its life."""
        async for line in worker.lines():
            said = json.loads(line)
            if "ran" in said:
                self.runs[said["ran"]] += 1
                self.tally.executions += 1
            elif "done" in said:
                self.acknowledged.add(said["done"])
                if "tile" in said:
                    upper, lower = (tuple(colour) for colour in said["halves"])
                    self.tally.tiles[said["tile"]] = (upper, lower)
            elif "ready" in said:
                self.tally.workers += 1
                self.ready.set()
            self.changed()
