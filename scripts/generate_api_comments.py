"""Writes osqueue_protocol/comments.json: the comments of proto/osqueue/v1 by full name, for documents and reflection.

Generated stubs hold no comments at run time. With --check nothing is written and a difference fails.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2 as pb

from osqueue_protocol.comments import named

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "osqueue_protocol" / "comments.json"


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
