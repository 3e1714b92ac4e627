"""Job types and what their payloads and results are, so that editors and workers know them.

    jobs = Registry()
    email = jobs.job("email", EmailPayload)

    await client.submit_job(email, EmailPayload(to="ada@example.org"))

Any type that Pydantic can validate will do: a model, a dataclass, `list[int]`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from osqueue.encoding import from_bytes, plain, to_bytes
from osqueue.errors import INVALID_REQUEST, BrokerProtocolError, ConfigError, Violation

if TYPE_CHECKING:
    from pydantic import TypeAdapter

P = TypeVar("P")
R = TypeVar("R")


class JobType(Generic[P, R]):
    """One kind of job: its name on the wire, the type of its payload and the type of its result."""

    __slots__ = ("_payload", "_result", "name", "payload_type", "result_type")

    def __init__(self, name: str, payload_type: Any = Any, result_type: Any = Any) -> None:
        self.name = name
        self.payload_type = payload_type
        self.result_type = result_type
        self._payload = None if payload_type is Any else _Codec(payload_type, f"{name} payload", "payload")
        self._result = None if result_type is Any else _Codec(result_type, f"{name} result", "result")

    def __repr__(self) -> str:
        return f"JobType({self.name!r})"

    def check(self) -> None:
        """`ConfigError` unless payload and result can be validated; otherwise the first job finds it out."""
        for codec in (self._payload, self._result):
            if codec is not None:
                codec.check()

    def encode_payload(self, payload: P) -> bytes:
        """The payload's bytes; a `BrokerProtocolError` names the fields that do not fit the type."""
        return to_bytes(payload, "payload") if self._payload is None else self._payload.encode(payload)

    def decode_payload(self, data: bytes) -> P:
        """The payload; a `BrokerProtocolError` names the fields that do not fit the type, a `CodecError` says why it
        could not be decoded."""
        return cast(P, from_bytes(data) if self._payload is None else self._payload.decode(data))

    def encode_result(self, result: R) -> bytes | None:
        """The result's bytes. Unless the type says otherwise, None means that there is no result."""
        if self._result is not None:
            return self._result.encode(result)
        return None if result is None else to_bytes(result, "result")

    def decode_result(self, data: bytes | None) -> R:
        """The result as its type says."""
        if data is None:
            return cast(R, None)
        return cast(R, from_bytes(data) if self._result is None else self._result.decode(data))


class _Codec:
    """Between bytes and one Python type. Bytes are taken to be encoded already and travel as they are."""

    __slots__ = ("_adapter", "_field", "_kind", "_plain_class", "_what")

    def __init__(self, kind: Any, what: str, field: str) -> None:
        self._kind = kind
        self._what = what
        self._field = field
        self._plain_class = kind if isinstance(kind, type) else None
        self._adapter: TypeAdapter[Any] | None = None

    def check(self) -> None:
        if self._adapter is None:
            self._build()

    def encode(self, value: object) -> bytes:
        if isinstance(value, bytes):
            return value
        adapter = self._adapter or self._build()
        from pydantic import ValidationError

        try:
            if self._plain_class is None or type(value) is not self._plain_class:
                value = adapter.validate_python(value)
            return adapter.dump_json(value, by_alias=True)
        except ValidationError as error:
            raise self._refused(error) from error

    def decode(self, data: bytes) -> Any:
        adapter = self._adapter or self._build()
        from pydantic import ValidationError

        if self._kind is bytes:
            return plain(data)
        try:
            return adapter.validate_json(data)
        except ValidationError as error:
            plain(data)  # a clearer reason, if it is one
            raise self._refused(error) from error

    def _build(self) -> "TypeAdapter[Any]":
        from pydantic import PydanticUserError, TypeAdapter

        try:
            self._adapter = TypeAdapter(self._kind)
        except PydanticUserError as error:
            raise ConfigError(f"the type of the {self._what} cannot be validated: {error.message}") from error
        return self._adapter

    def _refused(self, error: Any) -> BrokerProtocolError:
        violations = [
            Violation(".".join((self._field, *map(str, item["loc"]))), item["msg"])
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        details = "; ".join(f"{field}: {problem}" for field, problem in violations)
        return BrokerProtocolError(
            f"{self._what} does not validate: {details}", reason=INVALID_REQUEST, violations=violations
        )


class Registry:
    """The job types of an application. Clients and workers share it."""

    def __init__(self, *types: JobType[Any, Any]) -> None:
        self._types: dict[str, JobType[Any, Any]] = {}
        for job_type in types:
            self._add(job_type)

    @overload
    def job(self, name: str, payload: type[P], result: type[R]) -> JobType[P, R]: ...
    @overload
    def job(self, name: str, payload: type[P]) -> JobType[P, Any]: ...
    @overload
    def job(self, name: str) -> JobType[Any, Any]: ...
    @overload
    def job(self, name: str, payload: Any, result: Any = ...) -> JobType[Any, Any]: ...
    def job(self, name: str, payload: Any = Any, result: Any = Any) -> JobType[Any, Any]:
        """Register a job type. `ConfigError` when the name is taken."""
        return self._add(JobType(name, payload, result))

    def __getitem__(self, name: str) -> JobType[Any, Any]:
        return self._types[name]

    def __contains__(self, name: object) -> bool:
        return name in self._types

    def __iter__(self) -> Iterator[JobType[Any, Any]]:
        return iter(self._types.values())

    def __len__(self) -> int:
        return len(self._types)

    def get(self, job_type: str | JobType[Any, Any]) -> JobType[Any, Any]:
        """The registered type of that name, or an untyped one."""
        if isinstance(job_type, JobType):
            return job_type
        return self._types.get(job_type) or JobType(job_type)

    def known(self, job_type: str | JobType[Any, Any]) -> str | JobType[Any, Any]:
        """The registered type of that name. An empty registry takes every name; one that has types refuses others
        (`ConfigError`): nobody would notice until the job was missed."""
        if not isinstance(job_type, str) or not self._types:
            return job_type
        found = self._types.get(job_type)
        if found is None:
            import difflib

            close = difflib.get_close_matches(job_type, self._types, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ";"
            raise ConfigError(
                f"the registry has no job type {job_type!r}{meant} Register it with registry.job({job_type!r}, ...), "
                f"or use JobType({job_type!r}) where it is meant to stay outside"
            )
        return found

    def _add(self, job_type: JobType[Any, Any]) -> JobType[Any, Any]:
        if job_type.name in self._types:
            raise ConfigError(f"job type {job_type.name!r} is registered twice; give one of them another name")
        self._types[job_type.name] = job_type
        return job_type
