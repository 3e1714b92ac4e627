"""The files of the proto as buf builds them: the witness for what is generated or derived from them."""

import subprocess
from functools import cache
from pathlib import Path
from sys import executable

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).resolve().parents[1]


@cache
def files_of(package: str) -> list[FileDescriptorProto]:
    """The files of one package, with their comments."""
    buf = Path(executable).parent / "buf"
    built = subprocess.run([buf, "build", "--output", "-"], cwd=ROOT, capture_output=True, check=True)
    return [file for file in FileDescriptorSet.FromString(built.stdout).file if file.package == package]
