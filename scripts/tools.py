"""Where the tools of scripts/tools.env lie."""

import os
import re
from pathlib import Path

VERSIONS = dict(re.findall(r"^([A-Z0-9_]+)=(\S+)$", (Path(__file__).parent / "tools.env").read_text(), re.MULTILINE))
"""The version of each tool, by its name in that file."""

CACHE = Path(os.environ.get("TOOLS_CACHE") or "~/.cache/osqueue-tools").expanduser()


def place(name: str) -> Path:
    """The folder of a tool, such as "fake-gcs-server", at the version that is wanted; it may not be installed."""
    return CACHE / f"{name}-{VERSIONS[name.upper().replace('-', '_')]}"
