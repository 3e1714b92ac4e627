"""No field of any message can be forgotten between the SDK's types and the API."""

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any, get_type_hints

import pytest

from osqueue.api import mapping
from osqueue.api.descriptors import RPCS, is_map, messages, part_of
from osqueue.api.pairs import OUTCOMES, PAIRS, RPCS_LEFT_OUT, WORDS, Pair
from osqueue.errors import OsqueueError
from osqueue.job import FilterOptions, JobFilter, JobSpec, SubmitOptions
from osqueue.messages import Question
from osqueue.transports.protocol import AdminTransport, BatchTransport, Transport, WorkflowTransport
from osqueue.transports.wire import WireTransport
from osqueue_stubs.osqueue.v1 import job_pb2
from tests.filling import fill, filled

METHODS = {
    "".join(part.capitalize() for part in name.split("_")): method
    for name, method in (
        vars(Transport) | vars(AdminTransport) | vars(WorkflowTransport) | vars(BatchTransport)
    ).items()
    if inspect.isfunction(method) and name not in ("ask", "clone", "close") and not name.startswith("_")
}
"""The methods of a transport, by the RPC that each is for."""

QUESTIONS = {mapping.asked_by(pair.sdk).rpc: pair.sdk for pair in PAIRS if issubclass(pair.sdk, Question)}
CALLS = [*METHODS, *QUESTIONS]


class Recorder:
    """A link that keeps the request and gives a prepared answer."""

    address = "somewhere"

    def __init__(self, answer: Any = None) -> None:
        self.name = ""
        self.request: Any = None
        self._answer = answer

    def clone(self) -> "Recorder":
        return self

    async def close(self) -> None: ...

    async def call(self, name: str, request: Any, timeout_ms: int) -> Any:
        self.name, self.request = name, request
        return RPCS[name].response() if self._answer is None else self._answer

    async def stream(self, name: str, request: Any) -> Any:
        self.name, self.request = name, request
        yield RPCS[name].response() if self._answer is None else self._answer


def arguments(method: Any) -> dict[str, Any]:
    """A value other than its default for every argument."""
    hints = get_type_hints(method)
    return {name: _argument(hints[name]) for name in list(inspect.signature(method).parameters)[1:]}


def _argument(hint: Any) -> Any:
    if hint in (str, int, bool):
        return {str: "some", int: 7, bool: True}[hint]
    (*items,) = getattr(hint, "__args__", ())
    if items:
        return [_argument(items[0])]
    pair = next(pair for pair in PAIRS if pair.sdk is hint)
    return mapping.reader(hint, pair.message)(filled(pair.message), **dict.fromkeys(pair.given, "given"))


async def called(rpc: str, link: Recorder) -> Any:
    transport = WireTransport("recorded", link).for_queue("some", shared=True)
    if rpc in QUESTIONS:
        return await transport.ask(_argument(QUESTIONS[rpc]), timeout_ms=7)
    method = METHODS[rpc]
    answer = getattr(transport, method.__name__)(**arguments(method))
    if inspect.isasyncgen(answer):
        return [item async for item in answer]
    return await answer


def paths(descriptor: Any, carried: Iterable[str], prefix: str = "") -> Iterable[str]:
    """The fields of a message; those of a part for themselves where a pair takes the part to pieces."""
    for field in descriptor.fields:
        path = prefix + field.name
        if any(each.startswith(path + ".") for each in carried) and path not in carried:
            yield from paths(part_of(field), carried, path + ".")
        else:
            yield path


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.sdk.__name__}-{pair.message.DESCRIPTOR.name}")
def test_a_type_carries_every_field_of_its_message_or_says_why_not(pair):
    carried = {attribute.path for attribute in mapping.attributes(pair)}
    forgotten = set(paths(pair.message.DESCRIPTOR, carried)) - carried - pair.left_out.keys()
    assert not forgotten, (
        f"{pair.sdk.__name__} forgets {sorted(forgotten)} of {pair.message.DESCRIPTOR.name}: give it attributes of "
        "those names, or say in osqueue.api.pairs why they are left out"
    )


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.sdk.__name__}-{pair.message.DESCRIPTOR.name}")
def test_what_a_type_carries_comes_back_as_it_went(pair):
    sent = pair.message()
    fill(sent)
    _strip(sent, pair)
    value = mapping.reader(pair.sdk, pair.message)(sent, **dict.fromkeys(pair.given, "given"))
    back = mapping.to_message(value, pair.message)
    _strip(back, pair, left_out=False)
    assert back == sent


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.sdk.__name__}-{pair.message.DESCRIPTOR.name}")
def test_what_is_left_out_exists(pair):
    carried = {attribute.path for attribute in mapping.attributes(pair)}
    assert pair.left_out.keys() <= set(paths(pair.message.DESCRIPTOR, [*carried, *pair.left_out]))


def test_every_rpc_is_called_or_left_out_by_name():
    assert set(CALLS) == RPCS.keys() - RPCS_LEFT_OUT.keys()
    assert len(set(CALLS)) == len(CALLS)
    assert RPCS_LEFT_OUT.keys() <= RPCS.keys()


@pytest.mark.parametrize("rpc", CALLS)
async def test_every_field_of_a_request_is_asked(rpc):
    link = Recorder()
    await called(rpc, link)
    unset = {field.name for field in link.request.DESCRIPTOR.fields} - {
        field.name for field, _ in link.request.ListFields()
    }
    assert unset == set()
    assert link.name == rpc


@pytest.mark.parametrize("rpc", CALLS)
async def test_every_field_of_an_answer_is_told(rpc):
    response = RPCS[rpc].response
    pair = next((pair for pair in PAIRS if pair.message is response), None)
    left_out = set() if pair is None else {*pair.left_out, *computed(pair)}
    whole = await called(rpc, Recorder(filled(response)))
    for field in response.DESCRIPTOR.fields:
        answer = filled(response)
        answer.ClearField(field.name)
        if field.name not in left_out:
            assert await called(rpc, Recorder(answer)) != whole, f"{field.full_name} makes no difference"


def test_a_producer_may_ask_for_everything_that_a_job_can_have():
    required = {"payload", "type", "job_type"}
    assert get_type_hints(SubmitOptions).keys() == mapping.constructed(JobSpec).keys() - required


def test_a_listing_may_ask_for_everything_that_a_filter_can_say():
    assert get_type_hints(FilterOptions).keys() == mapping.constructed(JobFilter).keys()


@pytest.mark.parametrize("result", OUTCOMES, ids=lambda result: result.DESCRIPTOR.name)
def test_an_item_of_a_batch_is_its_value_or_its_error(result):
    read = mapping.outcome_reader(result)
    success = next(field for field in result.DESCRIPTOR.fields if field.name != "error")
    accepted, refused = result(), result()
    fill(getattr(accepted, success.name))
    fill(refused.error)
    assert isinstance(read(accepted), OUTCOMES[result] or type(None))
    error = read(refused)
    assert isinstance(error, OsqueueError)
    assert (error.message, error.retry_after_ms, len(error.violations)) == (
        refused.error.message,
        refused.error.retry_after_ms,
        1,
    )


def test_every_value_of_an_enum_has_a_word_of_its_own():
    enums = {field.enum_type for message in messages() for field in message.fields if field.enum_type is not None}
    for enum in enums:
        words = {number: mapping.word(enum, number) for number in enum.values_by_number}
        assert len(set(words.values())) == len(words)
        assert {mapping.number(enum, word) for word in words.values()} == words.keys()
    assert WORDS.keys() <= {enum.full_name for enum in enums}


def test_a_value_of_a_newer_broker_is_shown_by_its_number():
    event = RPCS["WatchJobs"].response.DESCRIPTOR.fields_by_name["events"].message_type
    kind = event.fields_by_name["kind"].enum_type
    assert mapping.word(kind, 4_711) == "4711"
    assert mapping.number(kind, "4711") == 4_711


def test_a_type_with_an_attribute_that_no_field_carries_is_refused():
    @dataclass
    class Wrong:
        tpye: str

    with pytest.raises(LookupError, match="has no field tpye"):
        mapping.attributes(Pair(Wrong, job_pb2.JobError))


def computed(pair: Pair) -> list[str]:
    """The fields that are properties of the type: told by others of its attributes."""
    constructed = mapping.constructed(pair.sdk)
    return [attribute.path for attribute in mapping.attributes(pair) if attribute.name not in constructed]


def _strip(message: Any, pair: Pair, *, left_out: bool = True) -> None:
    """Clear what the pair and those of its parts leave out, and what they compute."""
    for path in [*computed(pair), *(pair.left_out if left_out else ())]:
        *parents, last = path.split(".")
        reduce(getattr, parents, message).ClearField(last)
    for attribute in mapping.attributes(pair):
        part = mapping.part_pair(attribute)
        if part is not None:
            value = reduce(getattr, attribute.path.split("."), message)
            for item in value if attribute.field.is_repeated else [value]:
                _strip(item, part, left_out=left_out)


def test_the_filling_fills_every_field():
    for descriptor in messages():
        message = filled(mapping.message_class(descriptor))
        oneofs = {field.name for oneof in descriptor.oneofs for field in oneof.fields if len(oneof.fields) > 1}
        empty = {field.name for field in descriptor.fields} - {field.name for field, _ in message.ListFields()}
        assert empty <= oneofs
        assert all(not is_map(field) or value for field, value in message.ListFields())
