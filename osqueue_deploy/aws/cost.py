"""What an idle stage costs, by list prices: said before it is made."""

from osqueue_deploy.aws import gateway
from osqueue_deploy.aws.stage import Stage
from osqueue_deploy.aws.template import template

HOURS = 730
"""Of a month."""

# List prices of us-east-1 in USD, on Linux and x86; other regions differ by up to half.
CPU_HOUR, GB_HOUR = 0.04048, 0.004445
BALANCER_HOUR = 0.0225
ADDRESS_HOUR = 0.005
SECRET_MONTH, ALARM_MONTH, ZONE_MONTH = 0.40, 0.10, 0.50
PUT, GET = 5.00 / 1_000_000, 0.40 / 1_000_000
HEARTBEAT_S, LOOKS_PER_S = 3, 2
FOLLOWING_DAY = 0.007
"""What a standby spends to follow an idle queue; docs/operations/cost.md."""
ZONES = 2


def idle_month(stage: Stage) -> list[tuple[str, float]]:
    """What is paid for, and USD a month for it, with no jobs at all. Traffic and logs are not in it."""
    resources = template(stage)["Resources"].values()
    count = [each["Type"] for each in resources].count
    public_balancers = [each for each in resources if each["Properties"].get("Scheme") == "internet-facing"]
    tasks = stage.brokers + stage.gateways
    standbys = stage.brokers - 1
    seconds = HOURS * 3_600
    return [
        (f"{stage.brokers} brokers on Fargate", stage.brokers * _task(stage.cpu, stage.memory)),
        (_plural(stage.gateways, "gateway") + " on Fargate", stage.gateways * _task(gateway.CPU, gateway.MEMORY)),
        ("2 load balancers", count("AWS::ElasticLoadBalancingV2::LoadBalancer") * BALANCER_HOUR * HOURS),
        ("public addresses", (tasks + ZONES * len(public_balancers)) * ADDRESS_HOUR * HOURS),
        (
            "requests to the bucket",
            seconds / HEARTBEAT_S * PUT + standbys * (seconds * LOOKS_PER_S * GET + FOLLOWING_DAY * HOURS / 24),
        ),
        (
            "secrets, alarms, private names",
            count("AWS::SecretsManager::Secret") * SECRET_MONTH
            + count("AWS::CloudWatch::Alarm") * ALARM_MONTH
            + ZONE_MONTH,
        ),
    ]


def in_words(stage: Stage) -> str:
    """The sum, for a sentence."""
    total = sum(price for _, price in idle_month(stage))
    return f"${total:,.0f} a month while idle (list prices of us-east-1)"


def _task(cpu: int, memory: int) -> float:
    return (cpu / 1024 * CPU_HOUR + memory / 1024 * GB_HOUR) * HOURS


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
