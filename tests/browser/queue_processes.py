"""A broker and a gateway as processes of their own, as an operator runs them."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers import LOOPBACK, free_ports, wait_until

ROOT = Path(__file__).resolve().parents[2]


class Queue:
    """Both processes, on the loopback interface, with the queue in a directory. `ports`: gRPC's and HTTP's."""

    def __init__(self, directory: Path, ports: Sequence[int], settings: Mapping[str, str]) -> None:
        self.grpc_port, self.port = ports
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._log = directory / "processes.log"
        self._token = settings.get("OSQUEUE_TOKEN", "")
        self._environment = {
            **os.environ,
            "BROKER_HOST": LOOPBACK,
            "BROKER_PORT": str(self.port),
            "BROKER_GRPC_PORT": str(self.grpc_port),
            "BROKER_GRPC_ADDRESSES": f"{LOOPBACK}:{self.grpc_port}",
            "STORAGE_BACKEND": "file",
            "OSQUEUE_DATA_DIR": str(directory / "queue"),
            # A killed leader is given up after this; the tests wait for it.
            "BROKER_HEARTBEAT_INTERVAL_MS": "200",
            "BROKER_HEARTBEAT_TIMEOUT_MS": "1000",
            **settings,
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, module: str) -> None:
        """Start the broker (`osqueue_service`) or the gateway (`gateway`)."""
        with self._log.open("ab") as log:
            self._processes[module] = subprocess.Popen(
                [sys.executable, "-m", module],
                env=self._environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self, module: str) -> None:
        """kill -9, and wait until it is gone."""
        process = self._processes.pop(module)
        process.kill()
        process.wait()

    @contextmanager
    def without(self, module: str) -> Iterator[None]:
        """Kill it, and have it back in the end."""
        self.kill(module)
        try:
            yield
        finally:
            self.start(module)
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Until a broker leads and the gateway reaches it."""
        wait_until(self._is_ready, f"{self.url} to be ready; see {self._log}")

    def stop(self) -> None:
        """End whatever runs."""
        for module in list(self._processes):
            self.kill(module)

    def get(self, path: str) -> Any:
        """The JSON that a GET answers."""
        return self._ask(urllib.request.Request(self.url + path))

    def post(self, path: str, body: object) -> Any:
        """The JSON that a POST answers; `body` is sent as JSON, or as it is when it is bytes."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._ask(urllib.request.Request(self.url + path, data, {"content-type": "application/json"}))

    def submit(self, payload: object = "hello", **fields: object) -> str:
        """The id of a new job; the fields are those of POST /v1/jobs."""
        job_id: str = self.post("/v1/jobs", {"payload": payload, **fields})["jobId"]
        return job_id

    def claim(self, worker_id: str = "tester", **fields: object) -> dict[str, Any]:
        """A claimed job, or nothing in it."""
        claimed: dict[str, Any] = self.post("/v1/jobs/claim", {"workerId": worker_id, **fields})
        return claimed

    def settle(self, claimed: Mapping[str, Any], verb: str, worker_id: str = "tester", **fields: object) -> Any:
        """heartbeat, complete, fail or release a claimed job."""
        proof = {"workerId": worker_id, "leaseToken": claimed["leaseToken"]}
        return self.post(f"/v1/jobs/{claimed['jobId']}/{verb}", {**proof, **fields})

    def dead(self, count: int = 1, error_type: str = "SmtpError", **fields: object) -> list[str]:
        """The ids of new dead letters."""
        ids = [self.submit(**fields) for _ in range(count)]
        types = [fields["type"]] if "type" in fields else []
        claims = self.post("/v1/batch/claim", {"workerId": "tester", "maxJobs": count, "types": types})["jobs"]
        assert sorted(job["jobId"] for job in claims) == sorted(ids), "a test's jobs have a type of their own"
        error = {"type": error_type, "message": "mailbox unavailable"}
        for job in claims:
            self.settle(job, "fail", error=error, retryable=False)
        return ids

    def _ask(self, request: urllib.request.Request) -> Any:
        if self._token:
            request.add_header("authorization", f"Bearer {self._token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"{}")

    def _is_ready(self) -> bool:
        for module, process in self._processes.items():
            if process.poll() is not None:
                raise RuntimeError(f"{module} ended:\n{self._log.read_text()[-4_000:]}")
        try:
            self._ask(urllib.request.Request(self.url + "/readyz"))
        except OSError:  # not yet listening, or 503: no leader yet
            return False
        return True


@contextmanager
def running_queue(directory: Path, ports: Sequence[int] = (), **settings: str) -> Iterator[Queue]:
    """A queue that serves, on free ports unless some are given; settings are those of the environment."""
    queue = Queue(directory, ports or free_ports(2), settings)
    try:
        queue.start("osqueue_service")
        queue.start("osqueue_gateway")
        queue.wait_until_ready()
        yield queue
    finally:
        queue.stop()
