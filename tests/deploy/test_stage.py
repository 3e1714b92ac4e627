"""What may be asked of a stage, at the edges, and what is said where it may not."""

import pytest

from osqueue_deploy.aws.cost import idle_month
from osqueue_deploy.aws.stage import Stage
from osqueue_deploy.aws.template import BODY_BYTES_MAX, body, template
from osqueue_deploy.errors import BadStage

CERTIFICATE = "arn:aws:acm:us-east-1:000000000000:certificate/one"


@pytest.mark.parametrize("name", ["a", "dev", "pr-12", "a" * 20])
def test_names_of_stages(name: str) -> None:
    assert Stage(name).stack == f"osqueue-{name}"


@pytest.mark.parametrize("name", ["", "1a", "Dev", "a_b", "a" * 21, "-a", "a-", "dev\n"])
def test_names_that_aws_would_not_take(name: str) -> None:
    with pytest.raises(BadStage, match=r"stage: .* is not a name"):
        Stage(name)


@pytest.mark.parametrize(
    "allowed", [{"brokers": 2}, {"brokers": 5}, {"gateways": 1}, {"gateways": 10}, {"cpu": 256, "memory": 512}]
)
def test_edges(allowed: dict[str, int]) -> None:
    Stage("dev", **allowed)


@pytest.mark.parametrize(
    ("refused", "named"),
    [
        ({"brokers": 1}, "brokers: 1 .* from 2 to 5"),
        ({"brokers": 6}, "brokers: 6"),
        ({"gateways": 0}, "gateways: 0 .* from 1 to 10"),
        ({"gateways": 11}, "gateways: 11"),
        ({"cpu": 300}, "cpu: Fargate has 256, 512, 1024, 2048, 4096, not 300"),
        ({"cpu": 256, "memory": 4096}, "memory: with cpu 256, Fargate has 512 to 2048 MiB"),
        ({"cpu": 512, "memory": 1500}, "memory: with cpu 512"),
        ({"certificate": CERTIFICATE}, "certificate and domain: give both"),
        ({"domain": "q.example.com"}, "certificate and domain: give both"),
        ({"domain": "q.example.com", "certificate": "mine"}, "certificate: 'mine' is not an ARN"),
        ({"alarm_email": "ada"}, "alarm-email: 'ada' is not an address"),
    ],
)
def test_what_is_refused_by_name(refused: dict[str, int], named: str) -> None:
    with pytest.raises(BadStage, match=named):
        Stage("dev", **refused)


def test_the_largest_template_can_be_sent() -> None:
    largest = Stage(
        "a" * 20, brokers=5, gateways=10, certificate=CERTIFICATE, domain="q.example.com", alarm_email="a@example.com"
    )
    assert len(body(template(largest)).encode()) < BODY_BYTES_MAX


def test_an_idle_stage_costs_what_is_written(aws_page: str) -> None:
    rows = [f"| {what} | ${price:.2f} |" for what, price in idle_month(Stage("dev"))]
    total = sum(price for _, price in idle_month(Stage("dev")))
    for row in [*rows, f"| **together** | **${total:.0f}** |"]:
        assert row in aws_page, row
