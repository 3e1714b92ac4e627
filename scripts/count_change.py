"""Counts what a change cost: the hand-written files that a commit touched, without what is generated from them.

    python scripts/count_change.py --commit HEAD
    python scripts/count_change.py --commit 1234abc --at-most 8

With --at-most a larger change fails. docs/changing.md says what each kind of change should cost.
"""

import argparse
import re
import subprocess
import sys
from typing import NamedTuple

GENERATED = (
    (r"osqueue_stubs/.*(_pb2|_pb2_grpc)\.pyi?", "stubs: scripts/generate_stubs.py"),
    (r".*/comments\.json|.*/api_comments\.json", "comments of the API: scripts/generate_api_comments.py"),
    (r"osqueue/sync/.*\.py", "the synchronous client: scripts/generate_sync.py"),
    (r"proto/released/.*\.binpb", "the released API: make release-proto"),
    (r"(deploy/)?requirements\.lock", "locks: make lock"),
    (r"docs/configuration\.md", "the list of settings: scripts/generate_configuration.py"),
    (r"docs/pictures/.*", "pictures: scripts/take_screenshots.py"),
)
"""Paths that a script writes, and which."""


class Change(NamedTuple):
    """The files of a commit."""

    subject: str
    written: list[str]
    generated: list[str]


def change_of(commit: str) -> Change:
    """What the commit touched; a renamed file counts under its new name."""
    subject, *paths = git("show", "--format=%s", "--name-only", "--diff-filter=ACDMRT", commit).splitlines()
    written: list[str] = []
    generated: list[str] = []
    for path in filter(None, paths):
        (generated if origin(path) else written).append(path)
    return Change(subject, written, generated)


def origin(path: str) -> str:
    """What generates the file; empty for one that people write."""
    return next((what for pattern, what in GENERATED if re.fullmatch(pattern, path)), "")


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit", action="append", required=True, help="a commit; repeatable")
    parser.add_argument("--at-most", type=int, help="fail when a commit touches more hand-written files")
    arguments = parser.parse_args()
    failed = False
    for commit in arguments.commit:
        change = change_of(commit)
        print(f"{len(change.written)} hand-written files, {len(change.generated)} generated: {change.subject}")
        for path in change.written:
            print(f"  {path}")
        failed = failed or (arguments.at_most is not None and len(change.written) > arguments.at_most)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
