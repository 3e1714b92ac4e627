"""Runs the steps of the Dockerfile in a folder instead of an image: for machines without a container engine.

`python scripts/rehearse_image.py` builds what the image would hold from what is committed, starts it with the image's
command and settings and no others, asks its health check, puts a job through it, and stops it. Left out: the base
images, and the user.
"""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START_S_MAX = 120
TOKEN = "rehearsal"


class Dockerfile:
    """The instructions of each stage, with places of the image moved below `root`."""

    def __init__(self, text: str, root: Path) -> None:
        joined = re.sub(r"\\\n\s*", " ", text)
        moved = re.sub(r"(?<![\w./])/(opt/osqueue|data|src)\b", rf"{root}/\1", joined)
        lines = [line for line in moved.splitlines() if line and not line.startswith("#")]
        self.stages: list[list[tuple[str, str]]] = []
        for line in lines:
            name, _, rest = line.partition(" ")
            if name == "FROM":
                self.stages.append([])
            self.stages[-1].append((name, rest))

    def values(self, stage: int, name: str) -> list[str]:
        """What an instruction says, each time."""
        return [rest for instruction, rest in self.stages[stage] if instruction == name]


def build(image: Dockerfile, root: Path) -> None:
    """The first stage: what is committed, and each RUN in it."""
    (workdir,) = image.values(0, "WORKDIR")
    Path(workdir).mkdir(parents=True)
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", workdir], input=archive, check=True)
    for step in image.values(0, "RUN"):
        print(f"RUN {step}", flush=True)
        subprocess.run(["bash", "-c", step], cwd=workdir, check=True, env=os.environ | {"HOME": str(root)})


def settings(image: Dockerfile, root: Path) -> dict[str, str]:
    """The environment of the second stage, with free ports and a token besides."""
    found = dict(pair.split("=", 1) for line in image.values(1, "ENV") for pair in shlex.split(line))
    found["PATH"] = found["PATH"].replace("$PATH", "/usr/bin:/bin")
    ports = {"BROKER_PORT": str(free_port()), "BROKER_GRPC_PORT": str(free_port())}
    return {**found, **ports, "OSQUEUE_TOKEN": TOKEN, "HOME": str(root)}


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def start(image: Dockerfile, root: Path) -> None:
    """The second stage, as a container of it would run."""
    environment = settings(image, root)
    Path(environment["OSQUEUE_DATA_DIR"]).mkdir(parents=True)
    command = [*json.loads(image.values(1, "ENTRYPOINT")[0]), *json.loads(image.values(1, "CMD")[0])]
    check = json.loads(image.values(1, "HEALTHCHECK")[0].partition("CMD ")[2])
    stop = getattr(signal, image.values(1, "STOPSIGNAL")[0])
    with subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + START_S_MAX
            while subprocess.run(check, env=environment, capture_output=True).returncode:
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"{' '.join(command)} did not become healthy")
                time.sleep(0.5)
            print("healthy; submitted", submit(environment["BROKER_PORT"]))
            process.send_signal(stop)
            if process.wait(60):
                sys.exit(f"{' '.join(command)} ended with {process.returncode}")
        finally:
            process.kill()


def submit(port: str) -> str:
    """A job through the gateway; its id."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/jobs",
        json.dumps({"type": "hello", "payload": {}}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["jobId"])


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="osqueue-image-") as folder:
        root = Path(folder)
        image = Dockerfile((ROOT / "Dockerfile").read_text(), root)
        build(image, root)
        start(image, root)
        print("the image's steps work")


if __name__ == "__main__":
    main()
