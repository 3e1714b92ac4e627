"""PauseSchedule, ResumeSchedule, TriggerSchedule, BackfillSchedule."""

from osqueue_service.engine.engine import Engine
from osqueue_service.rpc.access.signing import execute_signed
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import Violations, check_name, check_printable, check_text
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import commit_position
from osqueue_service.rpc.schedule_service.schedule_info import schedule_info
from osqueue_service.rpc.schedule_service.schedule_reader import check_schedule_id
from osqueue_service.state.commands import BackfillSchedule, PauseSchedule, ResumeSchedule, TriggerSchedule
from osqueue_service.state.schedules import Schedule
from osqueue_stubs.osqueue.v1 import schedules_pb2


class ScheduleControl:
    """Serves what people do with a schedule that is there."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._limits = broker.limits

    async def PauseSchedule(
        self, request: schedules_pb2.PauseScheduleRequest, context: Context
    ) -> schedules_pb2.PauseScheduleResponse:
        engine, wrong = self._broker.engine, self._checked(request.schedule_id)
        check_text(request.reason, "reason", self._limits.reason_bytes, "reason_bytes", wrong)
        check_printable(request.reason, "reason", wrong)
        wrong.check()
        schedule = await execute_signed(engine, PauseSchedule(request.schedule_id, request.reason), context)
        info = await _info(engine, schedule)
        return schedules_pb2.PauseScheduleResponse(schedule=info, commit=commit_position(engine))

    async def ResumeSchedule(
        self, request: schedules_pb2.ResumeScheduleRequest, context: Context
    ) -> schedules_pb2.ResumeScheduleResponse:
        engine = self._broker.engine
        self._checked(request.schedule_id).check()
        schedule = await execute_signed(engine, ResumeSchedule(request.schedule_id), context)
        info = await _info(engine, schedule)
        return schedules_pb2.ResumeScheduleResponse(schedule=info, commit=commit_position(engine))

    async def TriggerSchedule(
        self, request: schedules_pb2.TriggerScheduleRequest, context: Context
    ) -> schedules_pb2.TriggerScheduleResponse:
        engine, wrong = self._broker.engine, self._checked(request.schedule_id)
        check_name(request.request_id, "request_id", self._limits.id_chars, wrong)
        wrong.check()
        made: list[tuple[str, int]] = await engine.execute(TriggerSchedule(request.schedule_id, request.request_id))
        return schedules_pb2.TriggerScheduleResponse(job_id=made[0][0], commit=commit_position(engine))

    async def BackfillSchedule(
        self, request: schedules_pb2.BackfillScheduleRequest, context: Context
    ) -> schedules_pb2.BackfillScheduleResponse:
        engine, wrong = self._broker.engine, self._checked(request.schedule_id)
        check_name(request.request_id, "request_id", self._limits.id_chars, wrong)
        if request.first_at < 0:
            wrong.add("first_at", f"is {request.first_at}; it must be milliseconds since 1970-01-01 UTC")
        if request.end_at <= request.first_at:
            wrong.add("end_at", f"is {request.end_at}; it must be later than first_at")
        wrong.check()
        command = BackfillSchedule(request.schedule_id, request.first_at, request.end_at, request.request_id)
        made: list[tuple[str, int]] = await engine.execute(command)
        response = schedules_pb2.BackfillScheduleResponse(
            jobs=[schedules_pb2.BackfilledJob(job_id=job_id, scheduled_for=at) for job_id, at in made]
        )
        if made:
            response.commit.CopyFrom(commit_position(engine))
        return response

    def _checked(self, schedule_id: str) -> Violations:
        wrong = Violations()
        check_schedule_id(schedule_id, "schedule_id", self._limits, wrong)
        return wrong


async def _info(engine: Engine, schedule: Schedule) -> schedules_pb2.ScheduleInfo:
    """What a call made of the schedule, even if another has changed it since."""
    return await engine.views.read(lambda state: schedule_info(state, schedule))
