"""What deploy/ ships besides the chart: image, compose, unit."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import tomllib

import pytest
import yaml

from conftest import DEPLOY, ROOT, Node, binary

COMPOSE = DEPLOY / "compose"
UNIT = DEPLOY / "systemd" / "freshet.service"
SECRETS = {name: "letters-and_digits1" for name in ("DATABASE_PASSWORD", "REPLICATION_PASSWORD", "REDIS_PASSWORD", "GRAFANA_PASSWORD")}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, with continued lines joined."""
    text = re.sub(r"\\\n", " ", (DEPLOY / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(None, 1)) for line in lines]


def last_stage() -> list[tuple[str, str]]:
    every = instructions()
    start = max(at for at, (word, _) in enumerate(every) if word == "FROM")
    return every[start:]


def test_the_image_runs_as_nobody_and_is_checked():
    stage = dict(last_stage())
    assert stage["FROM"].startswith("gcr.io/distroless/") and stage["USER"].split(":")[0].isdigit() and stage["USER"] != "0:0"
    assert "HEALTHCHECK" in stage and stage["STOPSIGNAL"] == "SIGTERM"
    assert not re.search(r"(?i)password|secret|DATABASE_URL|://", stage["ENV"])
    # Shell forms would need a shell.
    assert all(stage[word].startswith("[") for word in ("ENTRYPOINT", "CMD"))


def test_the_health_check_holds_while_clients_should_be_sent_to_the_node(start):
    options, _, form = dict(last_stage())["HEALTHCHECK"].partition(" CMD ")
    program, *arguments = json.loads(form)
    assert program == json.loads(dict(last_stage())["ENTRYPOINT"])[0]
    # It ends before Docker gives it up, and says why.
    limit = arguments[arguments.index("--timeout") + 1]
    assert int(limit.removesuffix("s")) < int(re.search(r"--timeout=(\d+)s", options)[1])
    node = start(Node, ["--memory"])

    def check():
        env = {**os.environ, "FRESHET_OPERATIONS": node.operations}
        return subprocess.run([binary(), *arguments], env=env, capture_output=True, text=True)

    ran = check()
    assert (ran.returncode, ran.stdout) == (0, f"{node.operations.removeprefix('http://')} is ready\n"), ran.stderr
    node.stop()
    ran = check()
    assert ran.returncode == 69 and "no answer from" in ran.stderr, ran.stderr


def test_the_image_is_built_from_what_the_build_needs(tmp_path):
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    taken = [line[1:] for line in lines if line.startswith("!")]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for file in tracked:
        if any(file == name or file.startswith(f"{name}/") or fnmatch.fnmatch(file, name) for name in taken):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, tmp_path / file)
    # Every member and target that a manifest names.
    read = subprocess.run(["cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version=1"], cwd=tmp_path, capture_output=True, text=True)
    assert read.returncode == 0, read.stderr
    # Every file that becomes part of the binary.
    for source in [path for folder in ("src", "wire/src", "clients/rust/src") for path in (tmp_path / folder).rglob("*.rs")]:
        for named in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', source.read_text()):
            if not named.endswith("/"):
                assert (source.parent / named).exists(), f"{source.relative_to(tmp_path)} includes {named}"
    assert (tmp_path / "migrations").is_dir()
    rust = re.search(r"rust:([\d.]+)", dict(instructions()[:1])["FROM"])[1]
    assert rust == tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]


def compose() -> dict:
    return yaml.safe_load((COMPOSE / "compose.yaml").read_text())


def substituted(text: str) -> str:
    """What Compose makes of a text with variables."""
    def value(found):
        name, _, default = found[1].partition(":")
        return SECRETS[name] if default.startswith("?") else default.removeprefix("-")

    return re.sub(r"\$\{([^}]+)\}", value, text).replace("$$", "$")


def test_what_compose_names_is_there():
    given = compose()
    listed = {line.split("=")[0] for line in (COMPOSE / "example.env").read_text().splitlines() if re.match(r"[A-Z_]+=", line)}
    assert listed == set(re.findall(r"\$\{(\w+):\?", (COMPOSE / "compose.yaml").read_text()))
    assert not any(line.endswith(value) for line in (COMPOSE / "example.env").read_text().splitlines() for value in SECRETS.values())
    for name, service in given["services"].items():
        for needed in service.get("depends_on", []):
            assert needed in given["services"], f"{name} needs {needed}"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            there = (COMPOSE / source).exists() if source.startswith(".") else source in given["volumes"]
            assert there, f"{name} mounts {source}"
        condition = service.get("depends_on", {})
        for needed, how in condition.items() if isinstance(condition, dict) else []:
            ends = how["condition"] == "service_completed_successfully"
            assert ends or needed == "freshet" or "healthcheck" in given["services"][needed]
    build = given["services"]["freshet"]["build"]
    assert (COMPOSE / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"


def test_the_nodes_of_compose_take_their_configuration():
    given = {name: substituted(value) for name, value in compose()["services"]["freshet"]["environment"].items()}
    given["FRESHET_CONFIG"] = str(COMPOSE / "freshet.toml")
    printed = subprocess.run([binary(), "config", "print"], env=given, capture_output=True, text=True)
    assert printed.returncode == 0, printed.stderr
    read = tomllib.loads(printed.stdout)
    services = compose()["services"]
    hosts = [re.search(r"@([\w-]+)/", url)[1] for d in read["database"] for url in [d["url"], *d.get("replicas", [])]]
    assert set(hosts) <= set(services) and len(hosts) == 3
    assert [d["shards"] for d in read["database"]] == ["0-31", "32-63"]


def test_the_balancer_of_compose_takes_its_configuration():
    checked = subprocess.run(["haproxy", "-c", "-f", COMPOSE / "haproxy.cfg"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("script", sorted(COMPOSE.glob("postgres/*.sh")), ids=lambda path: path.name)
def test_the_scripts_of_compose_are_shell(script):
    assert subprocess.run(["sh", "-n", script]).returncode == 0
    assert script.stat().st_mode & 0o111, "Compose mounts it as it is"


@pytest.fixture
def unit(tmp_path):
    """The unit with a binary that is there."""
    (path := tmp_path / UNIT.name).write_text(UNIT.read_text().replace("/usr/local/bin/freshet", str(binary())))
    return path


def test_systemd_takes_the_unit(unit):
    checked = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit], capture_output=True, text=True)
    complaints = [line for line in checked.stderr.splitlines() if UNIT.name in line]
    assert checked.returncode == 0 and not complaints, checked.stderr


def test_the_unit_may_do_little(unit):
    rated = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--threshold=15", "--no-pager", unit], capture_output=True, text=True)
    assert rated.returncode == 0, f"its exposure is above 1.5:\n{rated.stdout[-400:]}{rated.stderr}"


def test_the_unit_gives_a_node_the_time_and_the_sockets_that_it_needs():
    text = UNIT.read_text()
    source = (ROOT / "src" / "app.rs").read_text()
    clients, phase = (int(re.search(rf"const {name}: Duration = Duration::from_secs\((\d+)\)", source)[1]) for name in ("CLIENTS_LIMIT", "PHASE_LIMIT"))
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.M)[1]) >= 2 * clients + 4 * phase
    sockets = tomllib.loads((ROOT / "config" / "freshet.toml").read_text())["gateway"]["connections_max"]
    assert int(re.search(r"^LimitNOFILE=(\d+)$", text, re.M)[1]) > sockets + 1000
