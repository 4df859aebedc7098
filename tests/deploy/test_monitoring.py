"""Alert rules and dashboard: PromQL that is sound, rules that fire when they should, and metrics that a node exports."""

import contextlib
import json
import re
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

import pytest
import websocket
import yaml

from conftest import CHART, DEPLOY, ROOT, Node, Process, binary, fetch, free_port, wait_until

ALERTS = CHART / "files" / "alerts.yaml"
DASHBOARD = CHART / "files" / "dashboard.json"
# What appears only with replicas, or with an event that a sound node does not show.
LATER = {f"freshet_store_replica_{what}" for what in ("asked", "lag_seconds", "failures_total")}
# What Prometheus itself says of a target.
OF_PROMETHEUS = {"up"}


def rules() -> list[dict]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """All PromQL, with what Grafana puts in for its variables."""
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [rule["expr"] for rule in rules()] + [expr.replace("$__rate_interval", "1m") for expr in shown]


def named(expression: str) -> set[str]:
    """The metrics that an expression names, without the suffixes of histograms."""
    names = re.findall(r"\b(?:freshet|process)_\w+", re.sub(r'"[^"]*"', "", expression))
    if re.search(r"\bup\b", expression):
        names.append("up")
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def promtool(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, **options)


def test_the_alert_rules_are_sound():
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", ALERTS)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_fire_when_they_should_and_only_then(tmp_path):
    cases = yaml.safe_load((ROOT / "tests" / "deploy" / "alerts.yaml").read_text())
    fired = {case["alertname"] for test in cases["tests"] for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == {rule["alert"] for rule in rules()}, "each alert has a test in which it fires"
    # promtool would compare the texts word for word; `check rules` has parsed them.
    plain = yaml.safe_load(ALERTS.read_text())
    for group in plain["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(plain))
    (copy := tmp_path / "cases.yaml").write_text(yaml.safe_dump({**cases, "rule_files": ["alerts.yaml"]}))
    tested = promtool("test", "rules", copy)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_the_dashboard_asks_sound_questions(tmp_path):
    shown = [{"record": f"panel_{at}", "expr": expr} for at, expr in enumerate(expressions())]
    (copy := tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": shown}]}))
    checked = promtool("check", "rules", copy)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_dashboard_has_a_place_for_each_panel():
    every = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    taken = {}
    for panel in every:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for place in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert place not in taken, f"{panel['title']} lies over {taken[place]}"
            taken[place] = panel["title"]


def test_each_alert_is_explained_in_the_guide():
    guide = (ROOT / "docs" / "deployment.md").read_text()
    missing = [rule["alert"] for rule in rules() if f"| `{rule['alert']}` |" not in guide]
    assert not missing, f"docs/deployment.md, Alerts, lacks {missing}"


@pytest.fixture
def data():
    """A folder that PostgreSQL's account can reach when this runs as root, as pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="freshet-deploy-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "data"


@pytest.fixture
def busy_node(data, start, tmp_path):
    """A node on a private PostgreSQL with Redis that has read, written, pushed and refused."""
    port = free_port()
    redis = start(Process, ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path])
    redis.find("Ready to accept connections")
    env = {"FRESHET__REDIS__URLS": f"['redis://127.0.0.1:{port}']", "FRESHET__TIERS__AUDIT__SHARE": "1.0"}
    node = start(Node, ["--data-dir", data], env=env)
    # A new folder has no collection, and a node reads what there is when it starts.
    host = quote((data / "postmaster.pid").read_text().splitlines()[4], safe="")
    url = f"postgres://postgres@localhost/freshet?host={host}"
    subprocess.run([binary(), "migrate", "--demo", "--database-url", url], check=True, capture_output=True)
    node.stop()
    node = start(Node, ["--data-dir", data], env=env)
    records = f"{node.public}/v1/products"
    with contextlib.closing(websocket.create_connection(node.public.replace("http", "ws") + "/v1/ws", timeout=10)) as client:
        ask = lambda method, params: client.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        ask("subscribe", {"collection": "products", "key": "a"})
        fetch(f"{records}/a", "PUT", {"name": "a", "price": 1})
        fetch(f"{records}/a", "PUT", {"name": "a", "price": -1})
        for method, key in [("get", "a"), ("get", "none"), ("nothing", "a")]:
            ask(method, {"collection": "products", "key": key})
        for _ in range(6):
            client.recv()
    return node


def test_a_node_exports_each_metric_that_rules_and_dashboard_name(busy_node):
    wanted = set().union(*map(named, expressions())) - OF_PROMETHEUS
    code = "".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    unknown = {name for name in LATER if f'"{name}"' not in code}
    assert not unknown, f"src registers none of {unknown}"

    def missing():
        text = fetch(f"{busy_node.operations}/metrics")[2]
        return wanted - LATER - set(re.findall(r"^# TYPE (\w+)", text, re.M))

    # What comes with the next audit or the next mark may take a moment.
    wait_until(f"a node exports all but {LATER}, lacks {missing()}", lambda: not missing(), limit=20)


def test_metrics_have_names_that_prometheus_likes_and_each_limit_one_of_a_gauge_below_it(busy_node):
    text = fetch(f"{busy_node.operations}/metrics")[2]
    checked = promtool("check", "metrics", input=text)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    values = dict(re.findall(r"^(\w+) (\S+)$", text, re.M))
    limits = {name: re.sub(r"_max\b|(?<=_)max_", "", name) for name in values if re.search(r"^freshet.*_max(_bytes)?$", name)}
    assert {"freshet_session_open_max", "freshet_tiers_local_max_bytes"} <= set(limits)
    # Of one connection, where freshet_hub_watchers are those of all.
    del limits["freshet_session_subscriptions_max"]
    for limit, used in limits.items():
        assert 0 <= float(values[used]) <= float(values[limit]), limit


def test_prometheus_takes_the_configuration_of_compose(tmp_path):
    text = (DEPLOY / "compose" / "prometheus.yml").read_text().replace("/etc/prometheus/alerts.yaml", str(ALERTS))
    (copy := tmp_path / "prometheus.yml").write_text(text)
    checked = promtool("check", "config", copy)
    assert checked.returncode == 0, checked.stdout + checked.stderr
