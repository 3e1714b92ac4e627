"""No field of any message can be forgotten between the API and its JSON, its query strings and its page in /docs."""

import pytest

from osqueue.api.descriptors import RPCS, is_map, message_class, messages
from osqueue.api.events import events_of, frame_of
from osqueue.api.json_shapes import read_answer, shape
from osqueue.api.json_text import encode
from osqueue.api.queries import INLINED, query_of, query_shape
from osqueue_gateway.openapi import document
from osqueue_gateway.routes import ROUTES
from tests.filling import filled

MESSAGES = [message for message in messages() if not message.GetOptions().map_entry]
QUERIES = [route for route in ROUTES if route.method == "GET"]

LEFT_OUT = {
    ("WatchJobsResponse", "position"): "the id of a server-sent event",
}
"""Fields that an event does not carry in JSON, and where they are instead."""


def variants(message):
    """The message filled, once for each field of a oneof."""
    yield filled(message)
    for oneof in message.DESCRIPTOR.oneofs:
        for field in oneof.fields[1:]:
            made = filled(message)
            part = filled(message_class(field.message_type)) if field.message_type is not None else "another"
            if field.message_type is not None:
                getattr(made, field.name).CopyFrom(part)
            else:
                setattr(made, field.name, part)
            yield made


@pytest.mark.parametrize("descriptor", MESSAGES, ids=lambda message: message.name)
def test_an_answer_comes_back_from_its_json_as_it_went(descriptor):
    for sent in variants(message_class(descriptor)):
        assert read_answer(encode(shape(descriptor).write(sent)), type(sent)()) == sent


@pytest.mark.parametrize("descriptor", MESSAGES, ids=lambda message: message.name)
def test_a_request_comes_back_from_its_json_as_it_went(descriptor):
    for sent in variants(message_class(descriptor)):
        assert shape(descriptor).read(encode(shape(descriptor).write_request(sent))) == sent
        assert read_answer(encode(shape(descriptor).write_request(sent)), type(sent)()) == sent


@pytest.mark.parametrize("descriptor", MESSAGES, ids=lambda message: message.name)
def test_an_empty_message_comes_back_from_its_json_as_it_went(descriptor):
    sent = message_class(descriptor)()
    assert shape(descriptor).write_request(sent) == {}
    assert read_answer(encode(shape(descriptor).write(sent)), type(sent)()) == sent


@pytest.mark.parametrize("route", QUERIES, ids=lambda route: route.path)
def test_a_request_comes_back_from_its_query_string_as_it_went(route):
    from urllib.parse import urlencode

    sent = filled(route.rpc.request)
    given = {}
    if route.id_field:
        given = {route.id_field: getattr(sent, route.id_field)}
        sent.ClearField(route.id_field)
    query = urlencode(list(query_of(sent)))
    back = query_shape(route.rpc.request.DESCRIPTOR).read(query, given)
    if route.id_field:
        setattr(sent, route.id_field, given[route.id_field])
    assert back == sent


@pytest.mark.parametrize("route", QUERIES, ids=lambda route: route.path)
def test_every_field_of_a_request_is_a_parameter_in_the_documentation(route):
    parameters = {parameter["name"] for parameter in document()["paths"][route.path]["get"].get("parameters", ())}
    for field in route.rpc.request.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.full_name == INLINED:
            assert parameters >= {part.json_name for part in field.message_type.fields}
        elif field.name == route.id_field:
            assert "id" in parameters
        else:
            assert field.json_name in parameters


def test_every_field_of_a_watch_is_told_by_its_events():
    sent = filled(RPCS["WatchJobs"].response)
    told = type(sent)()
    for name, data in events_of(sent):
        told.MergeFrom(frame_of(name, encode(data)))
    for field in sent.DESCRIPTOR.fields:
        if (sent.DESCRIPTOR.name, field.name) not in LEFT_OUT:
            assert getattr(told, field.name) == getattr(sent, field.name)


def test_bytes_and_maps_are_among_the_fields_that_are_tried():
    fields = [field for message in MESSAGES for field in message.fields]
    assert any(field.type == field.TYPE_BYTES for field in fields)
    assert any(is_map(field) for field in fields)
