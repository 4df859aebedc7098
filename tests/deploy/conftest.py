"""Nodes for the tests of what deploy/ ships: real processes of the binary that FRESHET names, on ports of their own."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "freshet"
# How long a program may take to be ready on a busy machine.
LIMIT = 60


def binary() -> Path:
    """The freshet that ./test has built, or the one that FRESHET names."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return Path(os.environ.get("FRESHET", target / "debug" / "freshet"))


def pytest_sessionstart():
    if not binary().exists():
        pytest.exit(f"{binary()} is missing: build it with cargo build, or name one in FRESHET", returncode=1)


def free_port(address: str = "127.0.0.1") -> int:
    """A port that was free a moment ago; for programs that cannot be asked which one they chose."""
    with socket.socket() as listener:
        listener.bind((address, 0))
        return listener.getsockname()[1]


def wait_until(what: str, check, limit: float = LIMIT):
    """The first true value of `check`."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} within {limit} s")


def fetch(url: str, method: str = "GET", body: dict | None = None, headers: dict | None = None, timeout: float = 5):
    """Status, headers and text of an answer; the status is 0 where there is none."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    if data is not None:
        request.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, dict(refused.headers), refused.read().decode()
    except OSError as error:
        return 0, {}, str(error)


class Process:
    """A program whose output goes to a file; ended with the test."""

    def __init__(self, arguments: list, log: Path, env: dict | None = None):
        self.log = log
        with log.open("wb") as output:
            environment = {**os.environ, **(env or {})}
            self.process = subprocess.Popen([str(argument) for argument in arguments], stdout=output, stderr=output,
                                            stdin=subprocess.DEVNULL, env=environment, cwd=log.parent)

    def await_ready(self):
        """Nothing to wait for."""

    def text(self) -> str:
        """What it printed, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text(errors="replace"))

    def find(self, pattern: str) -> re.Match:
        """Waits until it printed what `pattern` matches."""

        def look():
            found = re.search(pattern, self.text())
            assert found or self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.text()}"
            return found

        return wait_until(f"{self.process.args[0]} prints {pattern}", look)

    def tell(self, number: int):
        self.process.send_signal(number)

    def stop(self) -> int:
        """Its exit code after SIGTERM."""
        if self.process.poll() is None:
            self.tell(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end:\n{self.text()}") from None


class Node(Process):
    """A node, and the addresses that it says it serves."""

    def __init__(self, options: list, log: Path, env: dict | None = None, address: str = "127.0.0.1", ports=(0, 0)):
        public, operations = (f"{address}:{port}" for port in ports)
        arguments = [binary(), "serve", "--listen", public, "--operations", operations, *options]
        super().__init__(arguments, log, env)

    def await_ready(self):
        self.public = "http://" + self.find(r'public"?[=:]"?([\d.]+:\d+)')[1]
        self.operations = "http://" + self.find(r'operations"?[=:]"?([\d.]+:\d+)')[1]
        wait_until("the node is ready", lambda: fetch(f"{self.operations}/readyz")[0] == 200)


@pytest.fixture
def start(tmp_path):
    """Starts processes that end with the test, the last one first."""
    started = []

    def begin(kind, *arguments, **options):
        process = kind(*arguments, log=tmp_path / f"{len(started)}.log", **options)
        started.append(process)
        process.await_ready()
        return process

    yield begin
    hanging = []
    for process in reversed(started):
        try:
            process.stop()
        except AssertionError as error:
            hanging.append(error)
    if hanging:
        raise hanging[0]
