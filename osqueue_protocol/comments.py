"""The comments of the proto: generated stubs hold none at run time."""

import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import TypeAlias

from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto

Path: TypeAlias = tuple[int, ...]

# Field numbers of descriptor.proto, of which the paths of source locations consist.
MESSAGES, ENUMS, SERVICES, EXTENSIONS = 4, 5, 6, 7
FIELDS, NESTED, NESTED_ENUMS, METHODS, VALUES = 2, 3, 4, 2, 2


@cache
def comments() -> dict[str, str]:
    """Comments by the full names of what they are on, such as "osqueue.v1.JobInfo.status"."""
    text = resources.files("osqueue_protocol").joinpath("comments.json").read_text(encoding="utf-8")
    found: dict[str, str] = json.loads(text)
    return found


def add_comments(file: FileDescriptorProto) -> None:
    """Give a file the comments that its source has, as far as they are on something named."""
    for path, name in named(file):
        if text := comments().get(name):
            lines = "".join(f" {line}\n" for line in text.split("\n"))
            file.source_code_info.location.add(path=path, span=(0, 0, 0), leading_comments=lines)


def named(file: FileDescriptorProto) -> Iterator[tuple[Path, str]]:
    """The path, as in a file's source locations, and the full name of everything in a file that can have a comment."""
    for index, service in enumerate(file.service):
        path = (SERVICES, index)
        yield path, f"{file.package}.{service.name}"
        for number, method in enumerate(service.method):
            yield (*path, METHODS, number), f"{file.package}.{service.name}.{method.name}"
    for index, extension in enumerate(file.extension):
        yield (EXTENSIONS, index), f"{file.package}.{extension.name}"
    for index, enum in enumerate(file.enum_type):
        yield from _named_enum(enum, (ENUMS, index), file.package)
    for index, message in enumerate(file.message_type):
        yield from _named_message(message, (MESSAGES, index), file.package)


def _named_message(message: DescriptorProto, path: Path, scope: str) -> Iterator[tuple[Path, str]]:
    name = f"{scope}.{message.name}"
    yield path, name
    for index, field in enumerate(message.field):
        yield (*path, FIELDS, index), f"{name}.{field.name}"
    for index, nested in enumerate(message.nested_type):
        yield from _named_message(nested, (*path, NESTED, index), name)
    for index, enum in enumerate(message.enum_type):
        yield from _named_enum(enum, (*path, NESTED_ENUMS, index), name)


def _named_enum(enum: EnumDescriptorProto, path: Path, scope: str) -> Iterator[tuple[Path, str]]:
    name = f"{scope}.{enum.name}"
    yield path, name
    for index, value in enumerate(enum.value):
        yield (*path, VALUES, index), f"{name}.{value.name}"
