"""The schedules of a worker's own handlers: `@worker.schedule(...)`."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, Unpack

from osqueue.errors import ConfigError
from osqueue.handling import Handling
from osqueue.job import JobSpec
from osqueue.schedules import ScheduleOptions
from osqueue.submission import new_job

log = logging.getLogger("osqueue.worker")

F = TypeVar("F", bound=Callable[..., Any])


class Timetable(Handling):
    """What a worker has of schedules, and puts when it starts.

    A schedule that is no longer in the code stays until somebody deletes it: an older worker may still run it.
    """

    def __init__(self, given: Mapping[Any, Any] | None = None) -> None:
        super().__init__(given)
        self._wanted: dict[str, tuple[JobSpec, ScheduleOptions]] = {}

    def schedule(
        self,
        cron: str = "",
        /,
        *,
        tz: str = "",
        name: str = "",
        payload: object = None,
        **options: Unpack[ScheduleOptions],
    ) -> Callable[[F], F]:
        """Decorate a function to be run by a schedule, as in `@worker.schedule("0 9 * * MON-FRI", tz="Europe/Berlin")`.

        It becomes the handler of jobs of its own name (or `name`), which a schedule of that name submits with this
        payload. The schedule is put when the worker starts, for which a token needs the right to manage; whether it is
        paused stays as it is, and it stays until it is deleted: `client.schedules.delete(name)`.
        """

        def register(function: F) -> F:
            called = name or getattr(function, "__name__", "")
            self.add(self.client.registry.get(called), function)
            self._wanted[called] = new_job(called, payload), _options(cron, tz, options)
            return function

        return register

    async def put_schedules(self) -> None:
        """Put all of them; what is there already, and as it is here, is left alone."""
        for name, (job, options) in self._wanted.items():
            info = await self.client.schedules.put(name, job, **options)
            log.info("schedule %s: %s", name, f"next at {info.next[0].local}" if info.next else info.message)


def _options(cron: str, tz: str, options: ScheduleOptions) -> ScheduleOptions:
    """The options with those that a decorator takes by position and by a shorter name."""
    found = options.copy()
    if cron:
        found["cron"] = cron
    if tz:
        if "time_zone" in options:
            raise ConfigError("give the time zone as tz or as time_zone, not as both")
        found["time_zone"] = tz
    return found
