"""A client's codecs, one after the other, on everything of a job that is a payload or a result."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from osqueue.codecs.envelope import AS_IT_IS, MAGIC, About, Codec, Envelope, Sealed, described
from osqueue.errors import CodecError, ConfigError
from osqueue.job import ClaimedJob, Job, JobSpec
from osqueue.schedule_messages import Schedule
from osqueue.workflow_messages import WorkflowNode

NESTED_MAX = 8
"""As many envelopes as are opened one in the other."""


class Pipeline:
    """Encodes in the order of the codecs, decodes in whatever order the envelopes say. Without codecs it does
    nothing."""

    __slots__ = ("_by_name", "_codecs", "_required")

    def __init__(self, codecs: Codec | Sequence[Codec] = ()) -> None:
        self._codecs: tuple[Codec, ...] = tuple(codecs) if isinstance(codecs, Iterable) else (codecs,)
        self._by_name: dict[str, Codec] = {}
        for codec in self._codecs:
            name = getattr(codec, "name", None)
            if not isinstance(name, str) or not name or not hasattr(codec, "encode") or not hasattr(codec, "decode"):
                raise ConfigError(f"codecs: {type(codec).__name__} is not a codec: it needs a name, encode and decode")
            if name in self._by_name:
                raise ConfigError(f"codecs: {name!r} is there twice")
            if name == AS_IT_IS:
                raise ConfigError(f"codecs: no codec may have the name {name!r}")
            self._by_name[name] = codec
        self._required = frozenset(codec.name for codec in self._codecs if getattr(codec, "required", False))

    def __bool__(self) -> bool:
        return bool(self._codecs)

    # --- out ---------------------------------------------------------------------------------------------------------

    def spec(self, spec: JobSpec[Any], repeat: str = "") -> JobSpec[Any]:
        """The job with its payload encoded, and that of the job on its death. `repeat`: see `About`; a job with an
        idempotency key is encoded the same whenever it is submitted."""
        if not self._codecs:
            return spec
        key = f"key {spec.idempotency_key}" if spec.idempotency_key else repeat or uuid.uuid4().hex
        on_dead = spec.submit_on_dead
        return replace(
            spec,
            payload=self._encode(spec.payload, About("payload", spec.type, key)),
            submit_on_dead=None if on_dead is None else self.spec(on_dead, f"{key} on dead"),
        )

    def payload(self, data: bytes, job_type: str) -> bytes:
        """What a job of this type is to have from now on."""
        return self._encode(data, About("payload", job_type, uuid.uuid4().hex))

    def specs(self, specs: Iterable[JobSpec[Any]], repeat: str = "") -> list[JobSpec[Any]]:
        """Several jobs."""
        if not self._codecs:
            return list(specs)
        return [self.spec(spec, f"{repeat} {place}" if repeat else "") for place, spec in enumerate(specs)]

    def nodes(self, nodes: Sequence[WorkflowNode], repeat: str) -> Sequence[WorkflowNode]:
        """The jobs of a workflow: a node that is added again is the same."""
        if not self._codecs:
            return nodes
        return [replace(node, job=self.spec(node.job, f"{repeat} {node.name}")) for node in nodes]

    def schedule(self, schedule: Schedule) -> Schedule:
        """A schedule: put again, it is the same."""
        if not self._codecs or schedule.job is None:
            return schedule
        return replace(schedule, job=self.spec(schedule.job, f"schedule {schedule.id}"))

    def result(self, data: bytes | None, job_id: str, lease_token: str) -> bytes | None:
        """What came of an attempt."""
        if not self._codecs or data is None:
            return data
        return self._encode(data, About("result", job_id, lease_token))

    # --- in ----------------------------------------------------------------------------------------------------------

    def claimed(self, jobs: list[ClaimedJob]) -> list[ClaimedJob]:
        """The jobs with payloads and inputs decoded, in place. Who asks for the value of one that could not be is told
        why."""
        if self._codecs:
            for job in jobs:
                job.payload = self._opened(job.payload, About("payload", job.type))
                job.inputs = [
                    each._replace(result=self._opened(each.result, About("result", each.job_id)))
                    if each.result is not None
                    else each
                    for each in job.inputs
                ]
        return jobs

    def job(self, job: Job) -> Job:
        """The job with payload and result decoded, in place; as in `claimed`."""
        if self._codecs:
            if job.payload:
                job.payload = self._opened(job.payload, About("payload", job.type))
            if job.result is not None:
                job.result = self._opened(job.result, About("result", job.id))
            self._template(job.submit_on_dead)
        return job

    def stored_schedule(self, schedule: Schedule) -> Schedule:
        """The schedule with its job decoded, in place; as in `claimed`."""
        if self._codecs:
            self._template(schedule.job)
        return schedule

    # --- inside ------------------------------------------------------------------------------------------------------

    def _template(self, spec: JobSpec[Any] | None) -> None:
        if spec is not None:
            if spec.payload:
                spec.payload = self._opened(spec.payload, About("payload", spec.type))
            self._template(spec.submit_on_dead)

    def _encode(self, data: bytes, about: About) -> bytes:
        if isinstance(data, Sealed):
            raise _named(about, CodecError(f"is encoded already and could not be decoded: it {data.error.message}"))
        if data.startswith(MAGIC):
            data = Envelope(AS_IT_IS, "", data).to_bytes()
        for codec in self._codecs:
            try:
                envelope = codec.encode(data, about)
                data = data if envelope is None else envelope.to_bytes()
            except Exception as error:
                raise _named(about, _told(error, codec, "encoded")) from error
        return data

    def _opened(self, data: bytes, about: About) -> bytes:
        try:
            return self._decode(data, about)
        except CodecError as error:
            return Sealed.because(_named(about, error), data)

    def _decode(self, data: bytes, about: About) -> bytes:
        passed: set[str] = set()
        for _ in range(NESTED_MAX):
            envelope = Envelope.of(data)
            if envelope is None or envelope.codec == AS_IT_IS:
                break
            codec = self._by_name.get(envelope.codec)
            if codec is None:
                have = ", ".join(map(repr, self._by_name))
                raise CodecError(f"is {described(envelope)}, and this client has no such codec: it has {have}")
            try:
                data = codec.decode(envelope, about)
            except Exception as error:
                raise _told(error, codec, "decoded") from error
            passed.add(envelope.codec)
        else:
            raise CodecError(f"is encoded more than {NESTED_MAX} times over")
        if missing := self._required - passed:
            raise CodecError(f"did not pass the codec {min(missing)!r}, which this client requires")
        return data if envelope is None else envelope.body


def _told(error: Exception, codec: Codec, done: str) -> CodecError:
    """What went wrong in a codec, whoever wrote it."""
    if isinstance(error, CodecError):
        return error
    return CodecError(f"could not be {done} by {codec.name!r}: {type(error).__name__}: {error}")


def _named(about: About, error: CodecError) -> CodecError:
    """The error, with what it is about."""
    job = f"a job of the type {about.name!r}" if about.kind == "payload" else f"job {about.name}"
    return CodecError(f"the {about.kind} of {job} {error.message}")
