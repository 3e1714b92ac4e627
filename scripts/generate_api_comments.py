"""Writes osqueue_gateway/api_comments.json: the comments of proto/osqueue/v1 by full name, for /openapi.json and /docs.

Generated stubs hold no comments at run time, and the proto files do not travel with the wheel. With --check nothing is
written and a difference fails.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2 as pb

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "gateway" / "osqueue_gateway" / "api_comments.json"

# Field numbers of descriptor.proto, of which the paths of source locations consist.
MESSAGES, ENUMS, SERVICES = 4, 5, 6
FIELDS, NESTED, NESTED_ENUMS, METHODS, VALUES = 2, 3, 4, 2, 2


def generate() -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    built = subprocess.run(["buf", "build", "--output", "-"], cwd=ROOT, env=environment, capture_output=True)
    if built.returncode != 0:
        raise SystemExit(f"buf build failed:\n{built.stderr.decode()}")
    comments: dict[str, str] = {}
    for file in pb.FileDescriptorSet.FromString(built.stdout).file:
        if file.package == "osqueue.v1":
            comments.update(commented(file))
    return json.dumps(comments, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def commented(file: pb.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """(full name, comment) of everything in a file."""
    names = dict(named(file))
    for location in file.source_code_info.location:
        name = names.get(tuple(location.path))
        if name and location.leading_comments:
            lines = (line.removeprefix(" ").rstrip() for line in location.leading_comments.strip("\n").split("\n"))
            yield name, "\n".join(lines)


def named(file: pb.FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    for index, service in enumerate(file.service):
        path = (SERVICES, index)
        yield path, f"{file.package}.{service.name}"
        for number, method in enumerate(service.method):
            yield (*path, METHODS, number), f"{file.package}.{service.name}.{method.name}"
    for index, enum in enumerate(file.enum_type):
        yield from named_enum(enum, (ENUMS, index), file.package)
    for index, message in enumerate(file.message_type):
        yield from named_message(message, (MESSAGES, index), file.package)


def named_message(
    message: pb.DescriptorProto, path: tuple[int, ...], scope: str
) -> Iterator[tuple[tuple[int, ...], str]]:
    name = f"{scope}.{message.name}"
    yield path, name
    for index, field in enumerate(message.field):
        yield (*path, FIELDS, index), f"{name}.{field.name}"
    for index, nested in enumerate(message.nested_type):
        yield from named_message(nested, (*path, NESTED, index), name)
    for index, enum in enumerate(message.enum_type):
        yield from named_enum(enum, (*path, NESTED_ENUMS, index), name)


def named_enum(
    enum: pb.EnumDescriptorProto, path: tuple[int, ...], scope: str
) -> Iterator[tuple[tuple[int, ...], str]]:
    name = f"{scope}.{enum.name}"
    yield path, name
    for index, value in enumerate(enum.value):
        yield (*path, VALUES, index), f"{name}.{value.name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail when the committed file is not what proto/ yields")
    check = parser.parse_args().check
    text = generate()
    if not check:
        TARGET.write_text(text)
    elif not TARGET.exists() or TARGET.read_text() != text:
        raise SystemExit(f"{TARGET.relative_to(ROOT)} is stale; run `make stubs`")


if __name__ == "__main__":
    main()
