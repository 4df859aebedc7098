"""The chart, rendered by Helm's own library for each file in ci/, against the schemas of Kubernetes."""

import re
import subprocess
import tomllib

import helm_python as helm
import jsonschema
import kubernetes_validate
import pytest
import yaml

from conftest import CHART, ROOT, binary
from resources import SCHEMAS

CASES = sorted(CHART.glob("ci/*.yaml"), key=lambda path: path.name)
# The oldest that the chart admits, and the newest that is known.
KUBERNETES = ["1.30", "1.37"]


def values(name: str) -> dict:
    return yaml.safe_load((CHART / "ci" / f"{name}.yaml").read_text())


def render(given: dict, name: str = "freshet", namespace: str = "shop") -> list[dict]:
    """The resources of a release."""
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(given)
        files = chart.render(given, name=name, namespace=namespace, is_install=True)
    texts = [text for path, text in files.items() if path.endswith(".yaml")]
    return [resource for text in texts for resource in yaml.safe_load_all(text) if resource]


def one(resources: list[dict], kind: str, suffix: str = "") -> dict:
    found = [r for r in resources if r["kind"] == kind and r["metadata"]["name"].endswith(suffix)]
    assert len(found) == 1, f"{len(found)} of {kind} {suffix}"
    return found[0]


def node(resources: list[dict]) -> dict:
    return one(resources, "Deployment")["spec"]["template"]["spec"]


def environment(container: dict, secrets: dict) -> dict:
    """The variables as the kubelet sets them: `secrets` maps (secret, key) to a value, $(NAME) is one that stands before."""
    variables = {}
    for entry in container["env"]:
        reference = entry.get("valueFrom", {}).get("secretKeyRef")
        value = secrets[reference["name"], reference["key"]] if reference else entry["value"]
        variables[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda m: variables.get(m[1], m[0]), value)
    return variables


def settings(container: dict, config: str, secrets: dict, tmp_path) -> dict:
    """What a node would run with, by `freshet config print`."""
    path = tmp_path / "freshet.toml"
    path.write_text(config)
    printed = subprocess.run([binary(), "config", "print", "--config", path], capture_output=True, text=True,
                             env=environment(container, secrets))
    assert printed.returncode == 0, printed.stderr
    return tomllib.loads(printed.stdout)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_each_case_renders_what_kubernetes_takes(case):
    resources = render(values(case.stem))
    assert {"ConfigMap", "Deployment", "Service", "Pod"} <= {resource["kind"] for resource in resources}
    for resource in resources:
        if resource["apiVersion"] in SCHEMAS:
            jsonschema.validate(resource, SCHEMAS[resource["apiVersion"]][resource["kind"]])
            continue
        for version in KUBERNETES:
            kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_each_case_is_clean_for_helm_lint(case):
    report = helm.lint(CHART, values(case.stem), strict=True, kube_version="v1.30.0")
    assert [m for m in report["messages"] if m["severity"] > 1] == [] and report["errors"] == []


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_no_pod_has_rights_or_a_writable_system(case):
    for resource in render(values(case.stem)):
        pod = resource["spec"] if resource["kind"] == "Pod" else resource.get("spec", {}).get("template", {}).get("spec")
        if not pod:
            continue
        assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_names_that_resources_use_are_there(case):
    resources = render(values(case.stem))
    there = {(resource["kind"], resource["metadata"]["name"]) for resource in resources}
    workload = one(resources, "Deployment")
    name = workload["metadata"]["name"]
    pods = workload["spec"]["template"]["metadata"]["labels"]
    for resource in resources:
        spec = resource.get("spec", {})
        if resource["kind"] == "Service":
            assert spec["selector"].items() <= pods.items()
            assert {port["targetPort"] for port in spec["ports"]} <= {"public", "operations"}
        if resource["kind"] == "Ingress":
            used = {path["backend"]["service"]["name"] for rule in spec["rules"] for path in rule["http"]["paths"]}
            assert used == {name}
        if resource["kind"] == "HTTPRoute":
            assert [ref["name"] for rule in spec["rules"] for ref in rule["backendRefs"]] == [name]
        if resource["kind"] == "HorizontalPodAutoscaler":
            assert (spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]) in there
        if resource["kind"] == "PodDisruptionBudget":
            assert spec["selector"]["matchLabels"].items() <= pods.items()
        if resource["kind"] == "ServiceMonitor":
            service = one(resources, "Service", "-operations")
            assert spec["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
            assert {end["port"] for end in spec["endpoints"]} <= {port["name"] for port in service["spec"]["ports"]}
            assert service["metadata"]["labels"][spec["jobLabel"]] == "freshet"
    # Neither the migration nor the test is sent clients.
    for resource in resources:
        if resource["kind"] in ("Job", "Pod"):
            labels = (resource["spec"].get("template") or resource)["metadata"]["labels"]
            assert not one(resources, "Service", name)["spec"]["selector"].items() <= labels.items()


def test_a_node_reads_the_urls_of_its_secrets(tmp_path):
    given = values("sharded")
    pod = node(render(given))
    urls = {(f"shop-{n}", "url"): f"postgres://freshet:p%22w@db{n}/shop_{n}" for n in range(4)}
    urls["shop-3", "replica"] = "postgres://freshet:p%22w@db3b/shop_3"
    read = settings(pod["containers"][0], given["config"], urls, tmp_path)
    assert [d["name"] for d in read["database"]] == ["shop-0", "shop-1", "shop-2", "shop-3"]
    assert [d["shards"] for d in read["database"]] == ["0-15", "16-31", "32-47", "48-63"]
    assert [len(d.get("replicas", [])) for d in read["database"]] == [0, 0, 0, 1]
    assert {d["read_connections"] for d in read["database"]} == {3}
    assert "db3b" in read["database"][3]["replicas"][0]
    assert {"freshet", "freshet.shop.svc.cluster.local", "freshet-operations"} <= set(read["gateway"]["hosts"])
    assert read["gateway"]["listen"] == "0.0.0.0:8080"


@pytest.mark.parametrize("password", ["12345", "it's 'so'", "$(x)\"\\"])
def test_a_node_reads_the_url_and_password_of_redis(password, tmp_path):
    given = values("redis")
    secrets = {("freshet-database", "url"): "postgres://db1/shop", ("freshet-redis", "url"): "rediss://cache1:6379",
               ("freshet-redis", "password"): password}
    (ca := tmp_path / "ca.crt").write_text("none")
    read = settings(node(render(given))["containers"][0], given["config"].replace("/etc/freshet-redis/ca.crt", str(ca)),
                    secrets, tmp_path)
    assert read["redis"]["urls"] == ["rediss://cache1:6379"] and read["redis"]["user"] == "freshet"
    # `config print` shows none.
    variable = environment(node(render(given))["containers"][0], secrets)["FRESHET__REDIS__PASSWORD"]
    assert tomllib.loads(f"v = {variable}")["v"] == password


def test_the_migration_logs_in_as_the_owner_and_the_nodes_never_see_that_url():
    resources = render(values("replicas"))
    secrets = {("freshet-database", key): f"postgres://freshet@{key}/shop" for key in ("url", "replica-1", "replica-2")}
    secrets["shop-owner", "url"] = "postgres://owner@db1/shop"
    job = one(resources, "Job")["spec"]["template"]["spec"]["containers"][0]
    assert "owner@db1" in environment(job, secrets)["FRESHET__DATABASE"]
    assert "--grant=freshet" in job["args"]
    assert "shop-owner" not in yaml.safe_dump(node(resources))


def test_the_migration_runs_before_the_release_with_what_is_there_by_then():
    resources = render(values("sharded"))
    job, config = one(resources, "Job"), one(resources, "ConfigMap", "-migrate")
    hooks = [resource["metadata"]["annotations"]["helm.sh/hook"] for resource in (job, config)]
    assert hooks == ["pre-install,pre-upgrade"] * 2
    weights = [int(resource["metadata"]["annotations"]["helm.sh/hook-weight"]) for resource in (config, job)]
    assert weights == sorted(weights) and weights[0] < weights[1]
    pod = job["spec"]["template"]["spec"]
    assert "serviceAccountName" not in pod
    used = {volume["configMap"]["name"] for volume in pod["volumes"]}
    assert used == {config["metadata"]["name"], "shop-migrations"}
    assert pod["containers"][0]["args"] == ["migrate", "--config=/etc/freshet/freshet.toml", "--folder=/etc/freshet-migrations"]


def test_monitoring_gets_the_rules_and_the_dashboard_as_they_are():
    resources = render(values("monitoring"))
    assert one(resources, "PrometheusRule")["spec"] == yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    dashboard = one(resources, "ConfigMap", "-dashboard")["data"]["freshet.json"]
    assert dashboard == (CHART / "files" / "dashboard.json").read_text()


def test_a_pod_has_time_for_the_whole_drain():
    source = (ROOT / "src" / "app.rs").read_text()
    limits = {name: int(seconds) for name, seconds in re.findall(r"const (\w+_LIMIT): Duration = Duration::from_secs\((\d+)\)", source)}
    # Two phases of clients; requests, store, tasks, operations listener.
    drain = 2 * limits["CLIENTS_LIMIT"] + 4 * limits["PHASE_LIMIT"]
    for wait in (0, 5, 20):
        pod = node(render({**values("minimal"), "drain": {"preStopSeconds": wait}}))
        assert pod["terminationGracePeriodSeconds"] == wait + drain + 10
        sleep = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert sleep == wait


def test_a_changed_configuration_replaces_the_nodes_and_an_unchanged_one_does_not():
    def checksum(given):
        return one(render(given), "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    first = checksum(values("minimal"))
    assert checksum(values("minimal")) == first
    assert checksum({**values("minimal"), "config": "[session]\nbatch_max = 7\n"}) != first


def test_the_chart_runs_this_release():
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == package["version"]


def test_nodes_leave_slowly_and_come_fast():
    spec = one(render(values("hpa")), "HorizontalPodAutoscaler")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (20, 200)
    assert [metric["type"] for metric in spec["metrics"]] == ["Pods", "Resource"]
    assert spec["behavior"]["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 600
    assert spec["behavior"]["scaleDown"]["selectPolicy"] == "Min"
    assert "replicas" not in one(render(values("hpa")), "Deployment")["spec"]


@pytest.mark.parametrize(("wrong", "told"), [
    ({}, "no database is named"),
    ({"databases": [{"existingSecret": "s"}], "config": "[[database]]\nurl = \"postgres://h/d\""}, "exclude each other"),
    ({"databases": [{"existingSecret": "s"}], "config": "[gateway]\nhosts = [\"a\"]"}, "use `hosts`"),
    ({"config": "[[database]]\nurl = \"postgres://u:secret@h/d\""}, "with a password"),
    ({"databases": [{"existingSecret": "s"}], "replicaCount": 3}, "replicaCount"),
    ({"databases": [{"existingSecret": "s"}], "migration": {"grant": True}}, "grant"),
    ({"databases": [{"url": "postgres://u:p@h/d"}]}, "url"),
    ({"databases": [{"existingSecret": "s"}], "ingress": {"enabled": True}}, "hosts"),
    ({"databases": [{"existingSecret": "s"}], "gateway": {"enabled": True}}, "parentRefs"),
    ({"databases": [{"existingSecret": "s"}], "hosts": ["https://shop.example"]}, "hosts"),
    ({"databases": [{"existingSecret": "s"}], "autoscaling": {"enabled": True, "cpu": 0, "connections": 0}}, "nothing to go by"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_values_that_cannot_work_are_refused_and_named(wrong, told):
    with pytest.raises(helm.HelmError) as refused:
        render(wrong)
    assert told in str(refused.value)
