"""Counts what a change cost: the hand-written files that a commit touched, without what is generated from them.

    python scripts/count_change.py --commit HEAD
    python scripts/count_change.py --commit 1234abc --at-most 8
    python scripts/count_change.py --kinds --since 1234abc

With --at-most a larger change fails. docs/changing.md says what each kind of change should cost, and --kinds what those
of each kind did cost that were made since a commit, and how many things of the kind each adds. Most add several, with
what they are for; only a commit that adds one or two says what one costs.
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


class Kind(NamedTuple):
    """A kind of change: what it should cost at most, and how a commit is known that makes one."""

    name: str
    at_most: int
    path: str
    line: str


KINDS = (
    Kind("a job status", 12, "osqueue_service/state/model.py", r"    [A-Z]+ = \d+"),
    Kind("a store", 3, "osqueue_service/storage/backends.py", r"        Backend\("),
    Kind("an RPC", 10, "proto/osqueue/v1/*.proto", r"  rpc \w+\(.*"),
    Kind("an optional field", 8, "proto/osqueue/v1/*.proto", r"  (optional |repeated )?[\w.<>, ]+ \w+ = \d+[;\[ ].*"),
)
"""Each brings those after it: an RPC has messages with fields."""


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


def kind_of(commit: str) -> tuple[Kind, int] | None:
    """What kind of change the commit is, and how many things of that kind it adds; None if it adds none."""
    return next(((kind, count) for kind in KINDS if (count := _added(commit, kind))), None)


def _added(commit: str, kind: Kind) -> int:
    """How many things of the kind the commit adds: a line that it also takes away was only moved or changed."""
    lines = git("show", "--format=", "--unified=0", commit, "--", kind.path).splitlines()
    signed = [line for line in lines if re.fullmatch(kind.line, line[1:]) and line[0] in "+-"]
    return max(0, sum(1 if line[0] == "+" else -1 for line in signed))


def report(since: str) -> list[str]:
    """For each kind, the commits of it that were made since then, and what they cost; the cheapest first."""
    paths = sorted({kind.path for kind in KINDS})
    commits = git("log", "--format=%h", "--no-merges", *([f"{since}..HEAD"] if since else []), "--", *paths).split()
    kinds = [(commit, *found) for commit in commits if (found := kind_of(commit)) is not None]
    lines: list[str] = []
    for kind in KINDS:
        costs = sorted((len(change_of(commit).written), count, commit) for commit, one, count in kinds if one is kind)
        within = sum(1 for files, _, _ in costs if files <= kind.at_most)
        lines.append(f"{kind.name}, at most {kind.at_most} files: {within} of {len(costs)} commits are within that")
        for files, count, commit in costs:
            lines.append(f"  {files:3} files for {count:3}: {commit} {change_of(commit).subject}")
    return lines


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit", action="append", default=[], help="a commit; repeatable")
    parser.add_argument("--kinds", action="store_true", help="what changes of each kind cost")
    parser.add_argument("--since", default="", help="with --kinds: only commits that came after this one")
    parser.add_argument("--at-most", type=int, help="fail when a commit touches more hand-written files")
    arguments = parser.parse_args()
    if arguments.kinds == bool(arguments.commit):
        parser.error("name commits by --commit, or ask for all by --kinds")
    if arguments.kinds:
        print(*report(arguments.since), sep="\n")
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
