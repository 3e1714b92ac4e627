"""PutSchedule, GetSchedule, ListSchedules, DeleteSchedule, PreviewSchedule."""

from osqueue_service.clock import Clock
from osqueue_service.errors import InvalidRequest
from osqueue_service.rpc.access.signing import execute_signed
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import TypeNames, Violations, check_name, check_number
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import commit_position, view_position
from osqueue_service.rpc.refusals import telling, told
from osqueue_service.rpc.schedule_service.schedule_info import (
    NEXT_TIMES,
    info_bytes,
    schedule_info,
    times_after,
)
from osqueue_service.rpc.schedule_service.schedule_reader import ScheduleReader, check_schedule_id
from osqueue_service.state.commands import DeleteSchedule, PutSchedule
from osqueue_service.state.schedule_control import existing
from osqueue_service.state.schedules import Schedule
from osqueue_service.state.state import State
from osqueue_stubs.osqueue.v1 import schedules_pb2

PAGE_SIZE = 100


class Schedules:
    """Serves what makes, shows and removes schedules."""

    def __init__(self, broker: Broker, types: TypeNames, clock: Clock) -> None:
        self._broker = broker
        self._limits = broker.limits
        self._reader = ScheduleReader(broker.limits, types)
        self._clock = clock

    async def PutSchedule(
        self, request: schedules_pb2.PutScheduleRequest, context: Context
    ) -> schedules_pb2.PutScheduleResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_schedule_id(request.schedule.id, "schedule.id", self._limits, wrong)
        spec = self._reader.read(request.schedule, engine.now_ms(), wrong)
        revision = request.revision if request.HasField("revision") else None
        if revision is not None and revision < 0:
            wrong.add("revision", f"is {revision}; it must be 0 (there is none yet) or more")
        wrong.check()
        command = PutSchedule(request.schedule.id, spec, revision, self._clock.wall_ms())
        schedule: Schedule = await execute_signed(engine, command, context)
        info = await engine.views.read(lambda state: schedule_info(state, schedule))
        return schedules_pb2.PutScheduleResponse(schedule=info, commit=commit_position(engine))

    async def GetSchedule(
        self, request: schedules_pb2.GetScheduleRequest, context: Context
    ) -> schedules_pb2.GetScheduleResponse:
        engine = self._broker.engine
        self._check_id(request.schedule_id)

        def view(state: State) -> schedules_pb2.GetScheduleResponse:
            info = schedule_info(state, existing(state, request.schedule_id))
            return schedules_pb2.GetScheduleResponse(schedule=info, position=view_position(engine))

        return told(await engine.views.read(telling(view)))

    async def ListSchedules(
        self, request: schedules_pb2.ListSchedulesRequest, context: Context
    ) -> schedules_pb2.ListSchedulesResponse:
        engine, limits, wrong = self._broker.engine, self._limits, Violations()
        size = request.page_size or PAGE_SIZE
        check_number(size, "page_size", 1, limits.page_items, wrong)
        check_name(request.prefix, "prefix", limits.id_chars, wrong)
        check_name(request.page_token, "page_token", limits.id_chars, wrong)
        known = schedules_pb2.ScheduleState.values()[1:]
        for position, state_ in enumerate(request.states):
            if state_ not in known:
                wrong.add(f"states[{position}]", f"is {state_}; it must be a ScheduleState")
        wrong.check()
        wanted = frozenset(request.states)

        def view(state: State) -> schedules_pb2.ListSchedulesResponse:
            answer = schedules_pb2.ListSchedulesResponse(position=view_position(engine))
            bytes_left, last = limits.page_bytes, ""
            begin = max(request.prefix, request.page_token)
            later = state.schedules.by_id.irange(begin, inclusive=(begin != request.page_token, True))
            for looked_at, id in enumerate(later):
                if not id.startswith(request.prefix):
                    break
                if len(answer.schedules) == size or bytes_left <= 0 or looked_at == limits.page_candidates:
                    answer.next_page_token = last
                    break
                schedule = state.schedules.by_id[id]
                last = id
                info = schedule_info(state, schedule, full=False)
                if not wanted or info.state in wanted:
                    answer.schedules.append(info)
                    bytes_left -= info_bytes(schedule)
            return answer

        return await engine.views.read(view)

    async def DeleteSchedule(
        self, request: schedules_pb2.DeleteScheduleRequest, context: Context
    ) -> schedules_pb2.DeleteScheduleResponse:
        engine = self._broker.engine
        self._check_id(request.schedule_id)
        deleted: bool = await execute_signed(engine, DeleteSchedule(request.schedule_id), context)
        return schedules_pb2.DeleteScheduleResponse(deleted=deleted, commit=commit_position(engine))

    async def PreviewSchedule(
        self, request: schedules_pb2.PreviewScheduleRequest, context: Context
    ) -> schedules_pb2.PreviewScheduleResponse:
        engine, limits, wrong = self._broker.engine, self._limits, Violations()
        count = request.count or NEXT_TIMES
        check_number(count, "count", 1, limits.preview_times, wrong)
        if request.after < 0:
            wrong.add("after", f"is {request.after}; it must be milliseconds since 1970-01-01 UTC, or 0 for now")
        if request.HasField("schedule") == bool(request.schedule_id):
            wrong.add("schedule", "says what is previewed, or schedule_id does: set one of them")
        now_ms = engine.now_ms()
        after = request.after or now_ms
        if request.schedule_id:
            check_schedule_id(request.schedule_id, "schedule_id", limits, wrong)
            wrong.check()
            found = telling(lambda state: existing(state, request.schedule_id).spec)
            spec = told(await engine.views.read(found))
        else:
            if request.schedule.id:
                check_schedule_id(request.schedule.id, "schedule.id", limits, wrong)
            template = request.schedule.HasField("job")
            spec = self._reader.read(request.schedule, now_ms, wrong, template=template)
            wrong.check()
        times = list(times_after(spec, after, count))
        if not times and not request.schedule_id:
            raise InvalidRequest.field("schedule", "has no time to come: it would never fire")
        return schedules_pb2.PreviewScheduleResponse(times=times)

    def _check_id(self, schedule_id: str) -> None:
        wrong = Violations()
        check_schedule_id(schedule_id, "schedule_id", self._limits, wrong)
        wrong.check()
