"""Who has schedules: puts them, changes them, pauses, triggers and deletes them."""

from typing import Any

from osqueue_stubs.osqueue.v1 import schedules_pb2
from tests.simulation.actors import Actor

_SCHEDULES = 3


class Scheduler(Actor):
    """A few schedules with short intervals, steered from outside; all gone when the trouble is over."""

    role = "scheduler"

    async def run(self) -> None:
        world, draw = self.world, self.draw
        while not world.calm:
            await self.pause(self.think_ms() * 2)
            schedule_id = f"every{draw.randrange(_SCHEDULES)}"
            match draw.choice(["put", "put", "put", "pause", "resume", "trigger", "backfill", "delete"]):
                case "put":
                    await self._put(schedule_id)
                case "trigger":
                    await self._call("TriggerSchedule", schedule_id, request_id=f"{self.name} {world.loop.now_ms}")
                case "backfill":
                    now_ms = int(world.loop.now_ms)
                    await self._call("BackfillSchedule", schedule_id, first_at=max(0, now_ms - 3_000), end_at=now_ms)
                case verb:
                    await self._call(f"{verb.capitalize()}Schedule", schedule_id)
        for number in range(_SCHEDULES):
            # However long it takes: schedules that go on would keep the queue from coming to its end.
            while await self._call("DeleteSchedule", f"every{number}") is None:
                await self.pause(200.0)

    async def _put(self, schedule_id: str) -> None:
        draw = self.draw
        request = schedules_pb2.PutScheduleRequest()
        schedule = request.schedule
        schedule.id, schedule.every_ms = schedule_id, draw.choice([1_000, 1_000, 2_500])
        schedule.overlap = draw.choice(schedules_pb2.Overlap.values())
        schedule.missed = draw.choice(schedules_pb2.Missed.values())
        schedule.jitter_ms = draw.choice([0, 0, 300])
        schedule.pause_after_dead = draw.choice([0, 0, 2])
        schedule.job.payload = f"{self.name}/{schedule_id}".encode()
        schedule.job.type = draw.choice(self.world.swarm.types)
        schedule.job.max_attempts = draw.choice([1, 3])
        await self.attempt(self.transport.wire_call("PutSchedule", request))

    async def _call(self, name: str, schedule_id: str, **fields: Any) -> Any:
        request = getattr(schedules_pb2, f"{name}Request")(schedule_id=schedule_id, **fields)
        return await self.attempt(self.transport.wire_call(name, request))
