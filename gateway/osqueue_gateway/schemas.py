"""JSON schemas of the API's messages, as `shapes` reads and writes them. Descriptions are the proto's comments."""

from enum import StrEnum
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from osqueue.api.descriptors import is_map, short_names
from osqueue.api.json_readers import BASE64, INT_RANGES
from osqueue.api.json_shapes import ABSENT_WITHOUT
from osqueue.api.json_writers import ABSENT_WHEN_EMPTY
from osqueue_gateway import constraints
from osqueue_protocol.comments import comments

Schema = dict[str, Any]


def comment(full_name: str) -> str:
    """A comment of the proto, its lines joined to paragraphs."""
    return comments().get(full_name, "").replace("\n", " ")


class Form(StrEnum):
    """What a schema is for."""

    ANSWER = ""
    CALL = "Input"
    """Of a request, with what the broker accepts: anything else fails the call."""
    ITEM = "Item"
    """Of an item of a batch: what the broker does not accept is an error of that item only."""


class Schemas:
    """Collects the schemas that are referred to. A message has one for each form that it occurs in."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def request(self, descriptor: Descriptor, without: frozenset[str] = frozenset()) -> Schema:
        """A reference to the schema of a call's request; fields in `without` stand in the path, or are not offered."""
        name = f"{descriptor.name}Body" if without else descriptor.name
        if name not in self.components:
            self.components[name] = schema = self._request(descriptor, Form.CALL, without)
            required = constraints.REQUIRED.get(descriptor.name, set()) - without
            if required:
                schema["required"] = sorted(descriptor.fields_by_name[field].json_name for field in required)
            if descriptor.name in constraints.PAYLOAD_REQUIRED:
                schema["anyOf"] = [{"required": ["payload"]}, {"required": ["payload" + BASE64]}]
            if {"jobIds", "filter"} <= schema["properties"].keys():
                schema.update(constraints.IDS_OR_FILTER)
        return _reference(name)

    def response(self, descriptor: Descriptor) -> Schema:
        """A reference to the schema of what an answer holds."""
        if descriptor.name not in self.components:
            self.components[descriptor.name] = {}  # messages may refer to each other
            self.components[descriptor.name] = self._response(descriptor)
        return _reference(descriptor.name)

    def field(self, field: FieldDescriptor, form: Form) -> Schema:
        """All values of a field, without its description."""
        known = constraints.of(field) if form is Form.CALL else {}
        if is_map(field):
            return {"type": "object", "additionalProperties": {"type": "string"}, **known}
        schema = self._value(field, form)
        if field.is_repeated:
            return {"type": "array", **known, "items": {**schema, **known.get("items", {})}}
        return {**schema, **known}

    def _value(self, field: FieldDescriptor, form: Form) -> Schema:
        if field.message_type is not None:
            return self.response(field.message_type) if form is Form.ANSWER else self._part(field.message_type, form)
        if field.enum_type is not None:
            return {"type": "string", "enum": list(short_names(field.enum_type).values())}
        if field.cpp_type in INT_RANGES:
            low, high = INT_RANGES[field.cpp_type]
            bits = "int32" if field.cpp_type == FieldDescriptor.CPPTYPE_INT32 else "int64"
            return {"type": "integer", "format": bits, "minimum": low, "maximum": high}
        return {
            FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
            FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
            FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number"},
        }[field.cpp_type].copy()

    def _part(self, descriptor: Descriptor, form: Form) -> Schema:
        """A reference to the schema of a message inside a request."""
        if descriptor.name.endswith("Request"):
            form = Form.ITEM
        name = descriptor.name + form
        if name not in self.components:
            self.components[name] = self._request(descriptor, form, frozenset())
        return _reference(name)

    def _request(self, descriptor: Descriptor, form: Form, without: frozenset[str]) -> Schema:
        schema = _object(descriptor)
        for field in descriptor.fields:
            if field.name not in without:
                schema["properties"].update(self._properties(field, form))
            if field.type == FieldDescriptor.TYPE_BYTES:
                schema["not"] = {"required": [field.json_name, field.json_name + BASE64]}
        schema["additionalProperties"] = False
        return schema

    def _response(self, descriptor: Descriptor) -> Schema:
        schema = _object(descriptor)
        absent = ABSENT_WHEN_EMPTY.get(descriptor.full_name, set())
        required = []
        for field in descriptor.fields:
            schema["properties"].update(self._properties(field, Form.ANSWER))
            always = field.is_repeated or not field.has_presence
            if always and field.type != FieldDescriptor.TYPE_BYTES and field.name not in absent:
                required.append(field.json_name)
        if required and descriptor.full_name not in ABSENT_WITHOUT:
            schema["required"] = required
        return schema

    def _properties(self, field: FieldDescriptor, form: Form) -> dict[str, Schema]:
        about = comment(field.full_name)
        if field.type != FieldDescriptor.TYPE_BYTES:
            return {field.json_name: {**self.field(field, form), "description": about}}
        known = constraints.of(field) if form is Form.CALL else {}
        base64 = {"type": "string", "contentEncoding": "base64", "pattern": constraints.BASE64_PATTERN, **known}
        return {
            field.json_name: {"description": f"{about} Any JSON; its text is kept verbatim."},
            field.json_name + BASE64: {**base64, "description": f"The same for bytes that are not JSON. {about}"},
        }


def _object(descriptor: Descriptor) -> Schema:
    return {"type": "object", "description": comment(descriptor.full_name), "properties": {}}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
