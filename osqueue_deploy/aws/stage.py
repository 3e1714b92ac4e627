"""What a stage is: its name, how much of everything it has, and what may be asked of it."""

import re
from dataclasses import dataclass

from osqueue_deploy.errors import BadStage

PRODUCTION = "production"
"""The stage whose bucket outlives it."""

NAME_LENGTH_MAX = 20
"""Names of buckets (63) and load balancers are made of it."""
BROKERS_MIN = 2
BROKERS_MAX = 5
GATEWAYS_MAX = 10

GRPC_PORT = 8081
HTTP_PORT = 8080
METRICS_PORT = 9090

NAME_SECONDS = 5
"""How long a name may be remembered: a replaced task has another address."""

PREFIX = "queue/"
"""What the keys of the queue begin with; a broker's role reaches nothing else."""

_NAME = re.compile(rf"[a-z][a-z0-9-]{{0,{NAME_LENGTH_MAX - 1}}}")
_GIB = 1024
# What Fargate offers: for each share of a processor (1024: a whole one) the least and the most memory in MiB.
_MEMORY = {
    256: (512, 2 * _GIB),
    512: (1 * _GIB, 4 * _GIB),
    1024: (2 * _GIB, 8 * _GIB),
    2048: (4 * _GIB, 16 * _GIB),
    4096: (8 * _GIB, 30 * _GIB),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One deployment of a queue: `dev`, `production`, a branch. Raises `BadStage` for what is not allowed.

    `cpu` (1024 is one processor) and `memory` (MiB) are those of a broker. With `certificate`, the ARN of a certificate
    of ACM for `domain`, brokers are reached from the internet over TLS; without, from the stage's own network only.
    `alarm_email` gets the alarms.
    """

    name: str
    brokers: int = BROKERS_MIN
    gateways: int = 1
    cpu: int = 512
    memory: int = 1024
    certificate: str = ""
    domain: str = ""
    alarm_email: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name.endswith("-"):
            raise BadStage(
                f"stage: {self.name!r} is not a name; take 1 to {NAME_LENGTH_MAX} small letters, digits and hyphens, "
                "a letter first and no hyphen last"
            )
        _within("brokers", self.brokers, BROKERS_MIN, BROKERS_MAX)
        _within("gateways", self.gateways, 1, GATEWAYS_MAX)
        if self.cpu not in _MEMORY:
            raise BadStage(f"cpu: Fargate has {', '.join(map(str, _MEMORY))}, not {self.cpu}")
        least, most = _MEMORY[self.cpu]
        step = _GIB if self.memory > 512 else 512
        if not least <= self.memory <= most or self.memory % step:
            raise BadStage(
                f"memory: with cpu {self.cpu}, Fargate has {least} to {most} MiB in steps of 1024, not {self.memory}"
            )
        if bool(self.certificate) != bool(self.domain):
            raise BadStage("certificate and domain: give both, the certificate's ARN and the name that it is for")
        if self.certificate and not self.certificate.startswith("arn:"):
            raise BadStage(f"certificate: {self.certificate!r} is not an ARN of ACM")
        if self.alarm_email and "@" not in self.alarm_email:
            raise BadStage(f"alarm-email: {self.alarm_email!r} is not an address")

    @property
    def stack(self) -> str:
        """The name of its stack."""
        return f"osqueue-{self.name}"

    @property
    def is_production(self) -> bool:
        """Whether its bucket is kept when it is removed."""
        return self.name == PRODUCTION

    @property
    def namespace(self) -> str:
        """The private domain in which its brokers have names."""
        return f"{self.stack}.internal"

    def bucket(self, account: str, region: str) -> str:
        """The name of its bucket, unique in the world through the account's number."""
        return f"{self.stack}-{account}-{region}"

    def broker_address(self, number: int) -> str:
        """Where the stage's own network reaches broker `number`, counted from 1."""
        return f"broker-{number}.{self.namespace}:{GRPC_PORT}"

    def outer_port(self, number: int) -> int:
        """The load balancer's port of broker `number`: each has its own, because only one of them leads."""
        return GRPC_PORT + number - 1


def _within(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise BadStage(f"{name}: {value} is not allowed; it must be from {least} to {most}")
