"""JSON schemas of the API's messages, as `shapes` reads and writes them. Descriptions are the proto's comments."""

import json
from functools import cache
from importlib import resources
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.shapes import ABSENT_WHEN_EMPTY, ABSENT_WITHOUT, BASE64, INT_RANGES, is_map, short_names

Schema = dict[str, Any]

REQUIRED = {
    "SubmitJobsRequest": {"jobs"},
    "ClaimJobRequest": {"worker_id"},
    "ClaimJobsRequest": {"worker_id"},
    "HeartbeatRequest": {"job_id"},
    "HeartbeatJobsRequest": {"heartbeats"},
    "CompleteJobRequest": {"job_id"},
    "CompleteJobsRequest": {"completions"},
    "FailJobRequest": {"job_id"},
    "ReleaseJobRequest": {"job_id"},
    "PauseTypesRequest": {"types"},
    "ResumeTypesRequest": {"types"},
}
"""Fields that a request cannot do without. The broker says so; here it is for readers."""

PAYLOAD_REQUIRED = {"SubmitJobRequest"}


@cache
def comments() -> dict[str, str]:
    """The proto's comments by full name."""
    text = resources.files("gateway").joinpath("api_comments.json").read_text(encoding="utf-8")
    found: dict[str, str] = json.loads(text)
    return found


def comment(full_name: str) -> str:
    """One of them, its lines joined to paragraphs."""
    return comments().get(full_name, "").replace("\n", " ")


class Schemas:
    """Collects the schemas that are referred to. A message read and written has two: unknown keys are refused only in
    requests, and only answers have all their keys."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def request(self, descriptor: Descriptor, without: frozenset[str] = frozenset()) -> Schema:
        """A reference to the schema of what a request may hold; fields in `without` stand in the path."""
        name = descriptor.name if descriptor.name.endswith("Request") else f"{descriptor.name}Input"
        if without:
            name += "Body"
        if name not in self.components:
            self.components[name] = {}  # messages may refer to each other
            self.components[name] = self._request(descriptor, without)
        return _reference(name)

    def response(self, descriptor: Descriptor) -> Schema:
        """A reference to the schema of what an answer holds."""
        if descriptor.name not in self.components:
            self.components[descriptor.name] = {}
            self.components[descriptor.name] = self._response(descriptor)
        return _reference(descriptor.name)

    def value(self, field: FieldDescriptor, *, reading: bool) -> Schema:
        """One value of a field, without its description."""
        if field.message_type is not None:
            return self.request(field.message_type) if reading else self.response(field.message_type)
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

    def _request(self, descriptor: Descriptor, without: frozenset[str]) -> Schema:
        schema = _object(descriptor)
        for field in descriptor.fields:
            if field.name not in without:
                schema["properties"].update(self._properties(field, reading=True))
        required = REQUIRED.get(descriptor.name, set()) - without
        if required:
            schema["required"] = sorted(descriptor.fields_by_name[name].json_name for name in required)
        if descriptor.name in PAYLOAD_REQUIRED:
            schema["oneOf"] = [{"required": ["payload"]}, {"required": ["payload" + BASE64]}]
        schema["additionalProperties"] = False
        return schema

    def _response(self, descriptor: Descriptor) -> Schema:
        schema = _object(descriptor)
        absent = ABSENT_WHEN_EMPTY.get(descriptor.full_name, set())
        required = []
        for field in descriptor.fields:
            schema["properties"].update(self._properties(field, reading=False))
            always = field.is_repeated or not field.has_presence
            if always and field.type != FieldDescriptor.TYPE_BYTES and field.name not in absent:
                required.append(field.json_name)
        if required and descriptor.full_name not in ABSENT_WITHOUT:
            schema["required"] = required
        return schema

    def _properties(self, field: FieldDescriptor, *, reading: bool) -> dict[str, Schema]:
        about = comment(field.full_name)
        if field.type == FieldDescriptor.TYPE_BYTES:
            base64 = {"type": "string", "contentEncoding": "base64"}
            return {
                field.json_name: {"description": f"{about} Any JSON; its text is kept verbatim."},
                field.json_name + BASE64: {**base64, "description": f"The same for bytes that are not JSON. {about}"},
            }
        if is_map(field):
            return {
                field.json_name: {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "description": about,
                }
            }
        value = self.value(field, reading=reading)
        if field.is_repeated:
            value = {"type": "array", "items": value}
        return {field.json_name: {**value, "description": about}}


def _object(descriptor: Descriptor) -> Schema:
    return {"type": "object", "description": comment(descriptor.full_name), "properties": {}}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
