"""Alerts, dashboards and the documentation of metrics, evaluated by Prometheus itself over what a broker shows."""

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from osqueue import SyncClient
from osqueue_service.testing.in_process import BrokerThread
from scripts.tools import place
from tests.servers import REQUIRED, free_ports

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/rules.yaml"
MONITORING = (ROOT / "docs/operations/monitoring.md").read_text()
PROMETHEUS, PROMTOOL = place("prometheus") / "prometheus", place("prometheus") / "promtool"
MISSING = "Prometheus is not installed: run scripts/install_prometheus.sh"
SCRAPED_SECONDS_MAX = 30

needs_prometheus = pytest.mark.skipif(not PROMETHEUS.exists() and not REQUIRED, reason=MISSING)

ALERTS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
PANELS = [
    (f"{board.stem}: {panel['title']}", target["expr"])
    for board in sorted((ROOT / "deploy/grafana").glob("*.json"))
    for panel in json.loads(board.read_text())["panels"]
    for target in panel["targets"]
]


class Scraper:
    """A Prometheus that has scraped a broker with some jobs."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self._address}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def is_done(self) -> bool:
        """Whether it has looked twice, and evaluated its rules since."""
        try:
            scrapes = self.ask("query", query="count_over_time(osqueue_type_claimed_total[1m]) > 1")["result"]
            rules = self.ask("rules")["groups"][0]["rules"]
        except OSError:
            return False
        return bool(scrapes) and all(rule["health"] != "unknown" for rule in rules)


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """Where the metrics of a broker are that has done all sorts of things."""
    (port,) = free_ports(1)
    settings = {"BROKER_METRICS_PORT": str(port), "S3_MAX_WRITES_PER_DAY": "1000000"}
    with BrokerThread(settings=settings) as broker, SyncClient(broker.address) as client:
        client.limits.put("api", max_running=1)
        for _ in range(3):
            client.submit_job("email", {})
        job = client.claim_job("w", types=["email"])
        assert job is not None
        client.complete_job(job)
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def scraper(page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraper]:
    assert PROMETHEUS.exists(), MISSING
    folder = tmp_path_factory.mktemp("prometheus")
    shutil.copy(RULES, folder)
    (folder / "config.yaml").write_text(
        "global: {scrape_interval: 500ms, evaluation_interval: 500ms}\n"
        "rule_files: [rules.yaml]\n"
        f"scrape_configs: [{{job_name: osqueue, static_configs: [{{targets: ['{page}']}}]}}]\n"
    )
    (port,) = free_ports(1)
    own = f"127.0.0.1:{port}"
    arguments = [f"--config.file={folder}/config.yaml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [PROMETHEUS, *arguments, f"--web.listen-address={own}"], stdout=log, stderr=log, cwd=folder
        )
    try:
        scraper = Scraper(f"http://{own}")
        until = time.monotonic() + SCRAPED_SECONDS_MAX
        while not scraper.is_done():
            assert process.poll() is None and time.monotonic() < until, (folder / "log").read_text()[-2_000:]
            time.sleep(0.1)
        yield scraper
    finally:
        process.terminate()
        process.wait()


def metrics_in(text: str) -> set[str]:
    return set(re.findall(r"\bosqueue_[a-z_]+", text))


@needs_prometheus
@pytest.mark.e2e
def test_each_alert_is_evaluated_and_a_healthy_queue_raises_none_to_be_woken_for(scraper: Scraper) -> None:
    rules = scraper.ask("rules")["groups"][0]["rules"]
    assert [(rule["name"], rule["health"], rule.get("lastError")) for rule in rules] == [
        (alert["alert"], "ok", None) for alert in ALERTS
    ]
    fires = {rule["name"] for rule in rules if rule["state"] == "firing"}
    pages = {alert["alert"] for alert in ALERTS if alert["labels"]["severity"] == "page"}
    assert not fires & pages


@needs_prometheus
@pytest.mark.e2e
@pytest.mark.parametrize(("panel", "query"), PANELS, ids=[f"{panel} {query[:30]}" for panel, query in PANELS])
def test_each_query_of_a_dashboard_is_evaluated(scraper: Scraper, panel: str, query: str) -> None:
    query = query.replace("$__rate_interval", "1m").replace("$type", ".*")
    answer = scraper.ask("query", query=query)
    finds_what_is_wrong = re.search(r" > 0|[=!]= ", query)
    finds_quotient = " / " in query
    assert answer["result"] or finds_what_is_wrong or finds_quotient or "osqueue_clock_ahead" in query, panel


@needs_prometheus
@pytest.mark.e2e
def test_all_metrics_that_alerts_and_dashboards_and_the_documentation_name_are_there(scraper: Scraper) -> None:
    shown = set(scraper.ask("label/__name__/values"))
    shown |= {name.removesuffix(end) for name in shown for end in ("_bucket",) if name.endswith(end)}
    # Shown by a store that tells the time alone.
    shown.add("osqueue_clock_ahead_seconds")
    named = metrics_in(" ".join([RULES.read_text(), MONITORING, *(query for _, query in PANELS)]))
    assert named and not named - shown


@needs_prometheus
@pytest.mark.e2e
def test_the_page_is_as_prometheus_wants_it(page: str) -> None:
    assert PROMTOOL.exists(), MISSING
    text = urllib.request.urlopen(f"http://{page}/metrics", timeout=10).read()
    found = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, timeout=60)
    assert found.returncode == 0, (found.stdout + found.stderr).decode()


@needs_prometheus
@pytest.mark.e2e
def test_each_alert_fires_when_it_should() -> None:
    assert PROMTOOL.exists(), MISSING
    tests = RULES.with_name("rules_test.yaml")
    run = subprocess.run([PROMTOOL, "test", "rules", tests], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr
    tried = {case["alert_rule_test"][0]["alertname"] for case in yaml.safe_load(tests.read_text())["tests"]}
    assert tried == {alert["alert"] for alert in ALERTS}


def test_the_documentation_has_each_alert_as_it_is() -> None:
    documented = {
        name: (expression.replace("\\|", "|"), "page" if place < MONITORING.index("## Look at these") else "ticket")
        for place, name, expression in (
            (row.start(), *row.groups())
            for row in re.finditer(r"^\| `(Osqueue\w+)` \| [^|]+ \| `(.+?)`", MONITORING, re.M)
        )
    }
    assert documented == {alert["alert"]: (alert["expr"], alert["labels"]["severity"]) for alert in ALERTS}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_says_where_to_read_on(alert: dict[str, Any]) -> None:
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.M)
    assert not anchor or anchor in {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}
