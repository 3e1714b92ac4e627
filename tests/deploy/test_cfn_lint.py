"""cfn-lint holds the template against AWS's schemas of every resource."""

from pathlib import Path

from osqueue_deploy.aws.stage import Stage
from osqueue_deploy.aws.template import body, bucket_template, template
from tests.deploy.tools import program, run

CERTIFICATE = "arn:aws:acm:us-east-1:000000000000:certificate/12345678-1234-1234-1234-123456789012"
STAGES = {
    "dev": Stage("dev"),
    "production": Stage("production", brokers=3, gateways=2, cpu=1024, memory=4096),
    "public": Stage(
        "public", brokers=5, certificate=CERTIFICATE, domain="q.example.com", alarm_email="ada@example.com"
    ),
}


def test_templates_are_sound_and_what_is_wrong_is_found(tmp_path: Path) -> None:
    lint = program("cfn-lint", "bin/cfn-lint")
    broken = template(Stage("dev"))
    broken["Resources"]["Bucket"]["Properties"]["BucketNmae"] = "x"
    files = {name: template(stage) for name, stage in STAGES.items()}
    for name, made in {**files, "adopted": bucket_template(STAGES["dev"]), "broken": broken}.items():
        (tmp_path / f"{name}.json").write_text(body(made))
    done = run(lint, "--format", "parseable", "--", *tmp_path.glob("*.json"))
    complaints = done.stdout.splitlines()
    assert complaints and done.returncode != 0
    assert all(line.startswith(f"{tmp_path}/broken.json:") for line in complaints), done.stdout
    assert any("BucketNmae" in line for line in complaints)
