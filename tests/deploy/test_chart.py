"""The chart, linted and rendered by helm, and held against the schemas of Kubernetes."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from osqueue.transports.addresses import parse
from osqueue_gateway.config import GatewayConfig
from osqueue_service.config import known_settings
from tests.deploy.chart_facts import SCHEMAS
from tests.deploy.tools import program, run

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm"
VERSIONS = ["1.30", "1.34"]

Values = dict[str, Any]
LEAST: Values = {
    "image": {"repository": "example.com/osqueue"},
    "token": {"secret": "osqueue"},
    "storage": {"s3": {"bucket": "jobs"}},
}
RENDERINGS: dict[str, Values] = {
    "least": {},
    "gcs": {
        "storage": {"backend": "gcs", "gcs": {"bucket": "jobs", "prefix": "queue/"}},
        "serviceAccount": {"annotations": {"iam.gke.io/gcp-service-account": "osqueue@p.iam.gserviceaccount.com"}},
    },
    "everything": {
        "image": {"repository": "example.com/osqueue", "tag": "1.2.3", "pullSecrets": [{"name": "registry"}]},
        "storage": {
            "s3": {"bucket": "jobs", "region": "eu-central-1", "prefix": "q/", "endpointUrl": "https://s3.example.com"},
            "credentialsSecret": "bucket",
        },
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/osqueue"}},
        "brokers": {
            "replicas": 3,
            "tlsSecret": "certificate",
            "settings": {"LOG_RETENTION": "7d"},
            "podAnnotations": {"a": "b"},
            "nodeSelector": {"disk": "any"},
            "tolerations": [{"key": "k", "operator": "Exists"}],
        },
        "gateways": {
            "replicas": 4,
            "settings": {"CORS_ORIGINS": "https://example.com"},
            "podAnnotations": {"a": "b"},
            "nodeSelector": {"disk": "any"},
            "tolerations": [{"key": "k", "operator": "Exists"}],
            "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
        },
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "host": "q.example.com",
            "tlsSecret": "front",
            "annotations": {"a": "b"},
        },
        "networkPolicy": {
            "workers": [{"podSelector": {"matchLabels": {"app": "worker"}}}],
            "callers": [{"podSelector": {}}],
        },
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "keda": {"enabled": True, "deployment": "workers", "prometheus": "http://prometheus:9090"},
    },
    "little": {
        "serviceAccount": {"create": False},
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
    },
}


def merged(values: Values) -> Values:
    """The least that must be given, with more."""
    return {key: {**LEAST.get(key, {}), **values.get(key, {})} for key in {*LEAST, *values}}


def helm(action: str, values: Values, folder: Path, *more: str) -> Any:
    (folder / "values.json").write_text(json.dumps(values))
    arguments = [action, *(["jobs"] if action == "template" else []), CHART, "--values", folder / "values.json"]
    return run(program("helm", "helm"), *arguments, "--namespace", "queue", "--kube-version", "1.34.0", *more)


def rendered(values: Values, folder: Path) -> dict[str, Any]:
    """The objects as `Kind/name`, each held against its schema."""
    done = helm("template", values, folder)
    assert done.returncode == 0, done.stderr
    asked = {"yaml": done.stdout, "schemas": SCHEMAS, "versions": VERSIONS}
    python = program("kubernetes-validate", "bin/python")
    checked = run(python, Path(__file__).with_name("validation.py"), given=json.dumps(asked))
    assert checked.returncode == 0, checked.stderr
    answer = json.loads(checked.stdout)
    assert answer["problems"] == []
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in answer["documents"]}


def container(objects: dict[str, Any], name: str) -> dict[str, Any]:
    kind = "StatefulSet/jobs-osqueue-brokers" if name == "broker" else "Deployment/jobs-osqueue-gateway"
    (found,) = objects[kind]["spec"]["template"]["spec"]["containers"]
    return found


def environment(found: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in found["env"] if "value" in each}


@pytest.mark.parametrize("name", RENDERINGS)
def test_every_rendering_is_sound(name: str, tmp_path: Path) -> None:
    values = merged(RENDERINGS[name])
    linted = helm("lint", values, tmp_path, "--strict")
    assert linted.returncode == 0, linted.stdout + linted.stderr
    kinds = {each.partition("/")[0] for each in rendered(values, tmp_path)}
    always = {"StatefulSet", "Deployment", "Service"}
    usual = {"ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"}
    assert kinds == {
        "everything": {*always, *usual, "Ingress", "ServiceMonitor", "ScaledObject"},
        "little": always,
    }.get(name, {*always, *usual})


def test_what_a_schema_refuses_is_found(tmp_path: Path) -> None:
    """The check itself: a misspelt field of Kubernetes and a number where KEDA wants a string."""
    wrong = (
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {portz: []}\n---\n"
        "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: x}\n"
        "spec: {scaleTargetRef: {name: w}, triggers: [{type: prometheus, "
        "metadata: {serverAddress: a, query: b, threshold: 100}}]}\n"
    )
    asked = {"yaml": wrong, "schemas": SCHEMAS, "versions": VERSIONS[:1]}
    python = program("kubernetes-validate", "bin/python")
    checked = run(python, Path(__file__).with_name("validation.py"), given=json.dumps(asked))
    problems = json.loads(checked.stdout)["problems"]
    assert len(problems) == 2 and "portz" in problems[0] and "threshold" in problems[1]


def test_brokers_and_gateways_find_each_other(tmp_path: Path) -> None:
    for name, scheme in (("least", "grpc"), ("everything", "grpcs")):
        objects = rendered(merged(RENDERINGS[name]), tmp_path)
        brokers = objects["StatefulSet/jobs-osqueue-brokers"]["spec"]
        service = objects[f"Service/{brokers['serviceName']}"]["spec"]
        assert service["clusterIP"] == "None" and service["publishNotReadyAddresses"]
        assert service["selector"].items() <= brokers["template"]["metadata"]["labels"].items()
        told = environment(container(objects, "broker"))["BROKER_ADVERTISE_ADDRESS"]
        pods = [f"jobs-osqueue-brokers-{number}" for number in range(brokers["replicas"])]
        addresses = environment(container(objects, "gateway"))["BROKER_GRPC_ADDRESSES"]
        given = addresses.split(",")
        assert given == [f"{scheme}://{told.replace('$(POD_NAME)', pod)}" for pod in pods]
        assert all(each.secure == (scheme == "grpcs") for each in parse(given))
        GatewayConfig.from_environment({"BROKER_GRPC_ADDRESSES": addresses, "OSQUEUE_TOKEN": "t"})


def test_no_probe_takes_a_standby_for_ill(tmp_path: Path) -> None:
    plain = container(rendered(merged({}), tmp_path), "broker")
    secure = container(rendered(merged(RENDERINGS["everything"]), tmp_path), "broker")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert plain[probe]["grpc"] == {"port": 8081}
        # Kubernetes cannot ask over TLS.
        assert secure[probe]["httpGet"] == {"path": "/healthz", "port": "metrics"}


def test_a_gateway_serves_once_it_has_reached_a_leader_and_stays(tmp_path: Path) -> None:
    gateway = container(rendered(merged({}), tmp_path), "gateway")
    paths = {name: gateway[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/readyz", "livenessProbe": "/healthz", "readinessProbe": "/healthz"}


def test_every_container_is_kept_small(tmp_path: Path) -> None:
    objects = rendered(merged({}), tmp_path)
    for kind in ("StatefulSet/jobs-osqueue-brokers", "Deployment/jobs-osqueue-gateway"):
        pod = objects[kind]["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
        # With links, a service called "broker" would set BROKER_PORT, which is a setting.
        assert pod["enableServiceLinks"] is False
        assert pod["terminationGracePeriodSeconds"] >= 30 and "volumes" not in pod
        (only,) = pod["containers"]
        assert only["securityContext"]["readOnlyRootFilesystem"]
        assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert only["resources"]["limits"]["memory"]
        (token,) = [each for each in only["env"] if each["name"] == "OSQUEUE_TOKEN"]
        assert token["valueFrom"] == {"secretKeyRef": {"name": "osqueue", "key": "token"}}
    assert not [name for name in objects if name.startswith("Secret/")]


def test_every_setting_is_one_of_osqueue(tmp_path: Path) -> None:
    known = {*known_settings(), "BROKER_GRPC_ADDRESSES", "CORS_ORIGINS", "POD_NAME"}
    objects = rendered(merged(RENDERINGS["everything"]), tmp_path)
    for name in ("broker", "gateway"):
        assert {each["name"] for each in container(objects, name)["env"]} <= known


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"token": {"secret": ""}}, "token/secret"),
        ({"image": {"repository": ""}}, "image/repository"),
        ({"storage": {"s3": {"bucket": ""}}}, "storage/s3/bucket"),
        ({"storage": {"backend": "gcs"}}, "storage/gcs/bucket"),
        ({"storage": {"backend": "file"}}, "storage/backend"),
        ({"brokers": {"replicas": 1}}, "brokers/replicas"),
        ({"brokers": {"replicas": 10}}, "brokers/replicas"),
        ({"brokers": {"terminationGracePeriodSeconds": 29}}, "brokers/terminationGracePeriodSeconds"),
        ({"brokers": {"settings": {"OSQUEUE_TOKEN": "x"}}}, "OSQUEUE_TOKEN"),
        ({"brokers": {"replica": 3}}, "replica"),
        ({"ingress": {"enabled": True}}, "ingress/host"),
        ({"keda": {"enabled": True, "prometheus": "http://p"}}, "keda/deployment"),
    ],
)
def test_values_that_are_wrong_are_named(values: Values, named: str, tmp_path: Path) -> None:
    done = helm("template", merged(values), tmp_path)
    assert done.returncode != 0
    assert named in done.stderr.replace(".", "/"), done.stderr


def test_the_command_of_the_guide_renders_as_it_stands(tmp_path: Path) -> None:
    page = (ROOT / "docs/operations/kubernetes.md").read_text()
    (command,) = re.findall(r"^helm install osqueue ((?:.*\\\n)*.*)$", page, re.MULTILINE)
    words = shlex.split(command.replace("\\\n", " "))
    assert words.pop(0) == "deploy/helm"
    done = run(program("helm", "helm"), "template", "osqueue", CHART, *words, "--kube-version", "1.34.0")
    assert done.returncode == 0, done.stderr
    (named,) = set(re.findall(r"`(osqueue-brokers-0\.\S+:8081)`", page))
    assert named in done.stdout


def test_the_values_of_the_guide_to_google_cloud_render(tmp_path: Path) -> None:
    page = (ROOT / "docs/operations/gcp.md").read_text()
    (values,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "values.yaml").write_text(values)
    arguments = ["template", "osqueue", CHART, "--values", tmp_path / "values.yaml", "--kube-version", "1.34.0"]
    done = run(program("helm", "helm"), *arguments)
    assert done.returncode == 0, done.stderr
    assert "GCS_BUCKET" in done.stdout and "iam.gke.io/gcp-service-account" in done.stdout


def test_every_value_is_described() -> None:
    """The schema closes every object, so a value that is not in it is refused."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    top = {*re.findall(r"^([a-zA-Z]+):", (CHART / "values.yaml").read_text(), re.MULTILINE)}
    assert {*schema["properties"]} - {"global", "nameOverride"} == top


def test_the_chart_is_of_this_version() -> None:
    versions = {*re.findall(r"^(?:version|appVersion): (\S+)$", (CHART / "Chart.yaml").read_text(), re.MULTILINE)}
    (ours,) = re.findall(r'^version = "(\S+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert versions == {ours}
