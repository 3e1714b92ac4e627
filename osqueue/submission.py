"""From what a producer writes to the job that a transport sends.

Everything is checked here, one job at a time: what is wrong with one caller's job must not
surface in the batch that carries it together with others.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from typing import Any, Literal, TypeVar, Unpack, get_args, get_origin, get_type_hints, overload

from osqueue.encoding import invalid, to_bytes
from osqueue.job import FilterOptions, JobFilter, JobSpec, Limit, RetryPolicy, SubmitOptions, Unique
from osqueue.registry import JobType

P = TypeVar("P")
R = TypeVar("R")


_INT32 = 2**31 - 1
_INT64 = 2**63 - 1


@overload
def new_job(job_type: JobType[P, R], payload: P, **options: Unpack[SubmitOptions]) -> JobSpec[R]: ...
@overload
def new_job(job_type: str, payload: object, **options: Unpack[SubmitOptions]) -> JobSpec[Any]: ...
def new_job(job_type: "JobType[Any, Any] | str", payload: object, **options: Unpack[SubmitOptions]) -> JobSpec:
    """A job for `submit_jobs`. `BrokerProtocolError` names what is wrong with it."""
    if isinstance(job_type, str):
        spec = JobSpec(to_bytes(payload, "payload"), text("type", job_type))
    else:
        spec = JobSpec(job_type.encode_payload(payload), text("type", job_type.name), job_type=job_type)
    for name, value in checked(options, SubmitOptions).items():
        setattr(spec, name, value)
    return spec


def job_filter(options: FilterOptions) -> JobFilter:
    """The filter that a caller wrote."""
    return JobFilter(**checked(options, FilterOptions))


def checked(options: Mapping[str, Any], kinds: Any) -> dict[str, Any]:
    """The options as they travel, without those that are None. `kinds` lists them with their annotations, which say how
    each is checked."""
    checks = _checks(kinds) if options else {}
    found = {}
    for name, value in options.items():
        if name not in checks:
            raise TypeError(f"there is no option {name!r}; there are: {', '.join(checks)}")
        if value is not None:
            found[name] = checks[name](name, value)
    return found


Check = Callable[[str, Any], Any]


@cache
def _checks(kinds: Any) -> dict[str, Check]:
    from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2, schedules_pb2

    carried_by: dict[str, Any] = {
        "SubmitOptions": queue_pb2.SubmitJobRequest,
        "FilterOptions": job_pb2.JobFilter,
        "ScheduleOptions": schedules_pb2.Schedule,
    }
    fields = carried_by[kinds.__name__].DESCRIPTOR.fields_by_name
    by_kind: dict[Any, Check] = {
        str: text,
        bool: _flag,
        RetryPolicy: _policy,
        Mapping: labels,
        Iterable: names,
        JobSpec: _template,
        Sequence: _limits,
        Unique: _unique,
    }
    checks: dict[str, Check] = {}
    for name, hint in get_type_hints(kinds).items():
        if hint is int:
            largest = _INT32 if fields[name].cpp_type == fields[name].CPPTYPE_INT32 else _INT64
            checks[name] = partial(integer, largest=largest)
        elif datetime in get_args(hint):
            checks[name] = to_epoch_ms
        elif get_origin(hint) is Literal:
            checks[name] = partial(_word, words=get_args(hint))
        else:
            checks[name] = by_kind[get_origin(hint) or hint]
    return checks


def text(field: str, value: object) -> str:
    """The value, if it is text that can travel."""
    if not isinstance(value, str):
        raise invalid(field, f"must be a string, got {type(value).__name__}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise invalid(field, f"is not valid Unicode: {error.reason}") from error
    return value


def integer(field: str, value: object, largest: int = _INT64) -> int:
    """The value, if it is an integer that fits its field on the wire; whether it makes sense is the broker's to say."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid(field, f"must be an integer, got {type(value).__name__}")
    if not -largest <= value <= largest:
        raise invalid(field, f"{value} is out of range")
    return value


def to_epoch_ms(field: str, value: object) -> int:
    """Milliseconds since the epoch; a datetime must know its time zone."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise invalid(field, "the datetime has no time zone; use datetime.now(timezone.utc) or .astimezone()")
        return int(value.timestamp() * 1_000)
    return integer(field, value)


def names(field: str, values: Iterable[str | JobType[Any, Any]]) -> tuple[str, ...]:
    """Several names; a job type stands for its own."""
    if isinstance(values, str):  # a string is iterable too, but nobody means its characters
        values = (values,)
    return tuple(text(field, value.name if isinstance(value, JobType) else value) for value in values)


def _word(field: str, value: object, words: tuple[str, ...]) -> str:
    if value not in words:
        raise invalid(field, f"is {value!r}; it must be one of {', '.join(map(repr, words))}")
    return str(value)


def _flag(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise invalid(field, f"must be True or False, got {type(value).__name__}")
    return value


def labels(field: str, value: object) -> dict[str, str]:
    """Metadata: strings by strings."""
    if not isinstance(value, Mapping):
        raise invalid(field, f"must be a mapping of strings, got {type(value).__name__}")
    return {text(field, key): text(f"{field}[{key!r}]", label) for key, label in value.items()}


def _template(field: str, spec: object) -> JobSpec:
    """A job that the broker is to submit by itself, some time."""
    if not isinstance(spec, JobSpec):
        raise invalid(field, f"must be a JobSpec, made with new_job, got {type(spec).__name__}")
    for name in ("run_at", "delay_ms", "idempotency_key", "submit_on_dead", "limits", "unique", "sequence_key",
                 "fairness_key", "batch_id"):  # fmt: skip
        if getattr(spec, name):
            raise invalid(f"{field}.{name}", "cannot be set: the job is submitted when its time has come, as a new one")
    return spec


def _limits(field: str, values: object) -> tuple[Limit, ...]:
    if isinstance(values, Limit):
        values = (values,)
    if not isinstance(values, Iterable) or not all(isinstance(value, Limit) for value in values):
        raise invalid(field, 'must be Limits, such as [Limit("openai", key="acme")]')
    return tuple(
        Limit(
            text(f"{field}[{position}].limit", value.limit),
            text(f"{field}[{position}].key", value.key),
            integer(f"{field}[{position}].cost", value.cost),
        )
        for position, value in enumerate(values)
    )


def _policy(field: str, policy: object) -> RetryPolicy:
    if not isinstance(policy, RetryPolicy):
        raise invalid(field, f"must be a RetryPolicy, got {type(policy).__name__}")
    integer(f"{field}.initial_ms", policy.initial_ms)
    integer(f"{field}.max_ms", policy.max_ms)
    for part in ("multiplier", "jitter"):
        number = getattr(policy, part)
        if not isinstance(number, (int, float)):
            raise invalid(f"{field}.{part}", f"must be a number, got {type(number).__name__}")
    return policy


def _unique(field: str, unique: object) -> Unique:
    if not isinstance(unique, Unique):
        raise invalid(field, f"must be a Unique, got {type(unique).__name__}")
    hints = get_type_hints(Unique)
    text(f"{field}.key", unique.key)
    for part in ("ttl_ms", "max_wait_ms"):
        integer(f"{field}.{part}", getattr(unique, part))
    for part in ("scope", "until", "on_conflict", "if_running"):
        words = get_args(hints[part])
        if (word := getattr(unique, part)) not in words:
            raise invalid(f"{field}.{part}", f"is {word!r}; it must be one of {', '.join(words)}")
    return unique
