"""Measures one real node for model.py: processor time for a new WebSocket with a subscription, for a push and for a read.

    python3 deploy/surge/calibrate.py target/release/freshet
"""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request


def cores(pid: int) -> float:
    """Seconds of the processor that a process has used."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bench(binary: str, url: str, *arguments) -> dict:
    done = subprocess.run([binary, "--url", url, "--format", "json", "bench", *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"bench {arguments} failed: {done.stderr}")
    return json.loads(done.stdout)


def metric(operations: str, name: str) -> float:
    text = urllib.request.urlopen(f"http://{operations}/metrics").read().decode()
    return float(re.search(rf"^{name} (\S+)$", text, re.M)[1])


def main():
    binary = sys.argv[1]
    began = time.monotonic()
    node = subprocess.Popen([binary, "serve", "--memory", "--listen", "127.0.0.1:0", "--operations", "127.0.0.1:0"],
                            stderr=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1"})
    try:
        said = next(line for line in map(lambda line: re.sub(r"\x1b\[[0-9;]*m", "", line), node.stderr) if "public=" in line)
        print(f"from start to serving: {time.monotonic() - began:.2f} s")
        public, operations = re.search(r"public=(\S+)", said)[1], re.search(r"operations=(\S+)", said)[1]
        url = f"ws://{public}/v1/ws"

        before, connections = cores(node.pid), 10_000
        weighed = bench(binary, url, "idle", "--connections", str(connections), "--pid", str(node.pid), "--fill")
        connect = (cores(node.pid) - before) / connections
        print(f"a new WebSocket with a subscription: {1e6 * connect:.0f} us, {weighed['bytes_per_connection']:.0f} bytes")

        before, pushes = cores(node.pid), metric(operations, "freshet_session_pushes_total")
        bench(binary, url, "fan-out", "--subscribers", str(connections), "--rate", "2", "--fill")
        pushes = metric(operations, "freshet_session_pushes_total") - pushes
        print(f"a push: {1e6 * (cores(node.pid) - before - connections * connect) / pushes:.1f} us")

        before = cores(node.pid)
        read = bench(binary, url, "get", "--connections", "64", "--in-flight", "1", "--keys", "1000", "--duration", "5s", "--fill")
        print(f"a read that L1 answers, one at a time: {1e6 * (cores(node.pid) - before) / read['answers']:.1f} us")
    finally:
        node.terminate()
        node.wait()


if __name__ == "__main__":
    main()
