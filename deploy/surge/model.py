"""What the chart's autoscaling does in a surge: 20 to 200 nodes, by a model of a second a step.

    python3 deploy/surge/model.py                # needs PyYAML; the table of docs/deployment.md

A node is what `calibrate.py` measured on a real one. Clients hold a WebSocket each, get pushes, and come back as docs/client.md says:
after a drain within session.reconnect_spread, after a refusal by backoff. The network, the proxy and the databases are not in it.
"""

import copy
import heapq
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from autoscaler import SYNC_SECONDS, Autoscaler

VALUES = Path(__file__).resolve().parents[1] / "helm" / "freshet" / "values.yaml"
SPREAD = 5  # session.reconnect_spread
CONNECTIONS_MAX = 15_000  # session.connections_max


@dataclass
class Node:
    """One core, measured by calibrate.py."""

    connect: float = 60e-6  # seconds of the processor for a new WebSocket with a subscription
    push: float = 3e-6  # for a state sent to a subscriber
    read: float = 5e-6  # for a read that L1 answers


@dataclass
class Surge:
    """How many want to be connected: `least`, then up to `most` within `rise` seconds, then back within `fall`."""

    least: int = 100_000
    most: int = 1_100_000
    begin: int = 300
    rise: int = 300
    hold: int = 1_200
    fall: int = 900
    end: int = 10_800
    pushes: float = 1.0  # a second and client
    reads: float = 0.1
    node: Node = field(default_factory=Node)
    start_seconds: int = 20  # from the decision to a ready node: scheduling, image, start
    metric_seconds: int = 30  # how old the figures are that the autoscaler sees: scrape, adapter

    def wish(self, now: int) -> int:
        past = now - self.begin
        if past < self.rise:
            share = max(past, 0) / self.rise
        else:
            share = 1 - min(max(past - self.rise - self.hold, 0) / self.fall, 1)
        return round(self.least + (self.most - self.least) * share)


class Service:
    """Nodes, the clients on them, and those that are waiting to come back."""

    def __init__(self, surge: Surge, settings: dict, random_balance: bool):
        self.surge, self.random_balance = surge, random_balance
        self.autoscaler = Autoscaler(settings)
        replicas = settings["minReplicas"]
        self.nodes = [surge.least // replicas] * replicas
        self.starting = []  # moments at which nodes become ready
        self.returning = []  # (moment, clients, failures in a row)
        self.history = []  # (connections, cores) a second
        self.seen = {"refused": 0, "told": 0, "most nodes": replicas, "fullest": 0, "busiest": 0.0, "waited": 0, "most told in a minute": 0}
        self.moves = []  # (moment, clients told to move)

    def connected(self) -> int:
        return sum(self.nodes)

    def step(self, now: int):
        ready = [moment for moment in self.starting if moment <= now]
        self.starting = [moment for moment in self.starting if moment > now]
        self.nodes += [0] * len(ready)
        missing = self.surge.wish(now) - self.connected() - sum(clients for _, clients, _ in self.returning)
        if missing < 0:
            self._leave(-missing)
        groups = [(max(missing, 0), 0)] if missing > 0 else []
        while self.returning and self.returning[0][0] <= now:
            groups.append(heapq.heappop(self.returning)[1:])
        self.taken = [0] * len(self.nodes)
        for clients, failures in groups:
            self._admit(now, clients, failures)
        self._measure()
        if now % SYNC_SECONDS == 0:
            self._scale(now)

    def _admit(self, now: int, clients: int, failures: int):
        """Sends clients to the nodes that have the fewest, or to any; refuses those that meet a full one."""
        room = [max(CONNECTIONS_MAX - node, 0) for node in self.nodes]
        if self.random_balance:
            share, rest = divmod(clients, len(self.nodes))
            take = [min(share + (at < rest), free) for at, free in enumerate(room)]
        else:
            take = self._level(min(clients, sum(room)))
        self.nodes = [node + more for node, more in zip(self.nodes, take)]
        self.taken = [before + more for before, more in zip(self.taken, take)]
        refused = clients - sum(take)
        if refused:
            self.seen["refused"] += refused
            wait = 1 + round(random.uniform(0, min(20, 0.5 * 2 ** failures)))
            heapq.heappush(self.returning, (now + wait, refused, failures + 1))

    def _level(self, clients: int) -> list[int]:
        """Fills the emptiest nodes up to a common level."""
        take = [0] * len(self.nodes)
        order = sorted(range(len(self.nodes)), key=self.nodes.__getitem__)
        for count in range(1, len(order) + 1):
            level = (clients + sum(self.nodes[at] for at in order[:count])) / count
            if count == len(order) or level <= self.nodes[order[count]]:
                break
        for at in order[:count]:
            take[at] = min(max(round(level) - self.nodes[at], 0), CONNECTIONS_MAX - self.nodes[at])
        return take

    def _leave(self, clients: int):
        """Those that go, evenly of all."""
        every = self.connected()
        self.nodes = [node - round(clients * node / every) for node in self.nodes]

    def _measure(self):
        surge, cost = self.surge, self.surge.node
        each = surge.pushes * cost.push + surge.reads * cost.read
        cores = [clients * each + new * cost.connect for clients, new in zip(self.nodes, self.taken)]
        self.history.append((self.connected(), sum(cores)))
        self.seen["most nodes"] = max(self.seen["most nodes"], len(self.nodes))
        self.seen["fullest"] = max(self.seen["fullest"], *self.nodes)
        self.seen["busiest"] = max(self.seen["busiest"], *cores)
        self.seen["waited"] += sum(clients for _, clients, failures in self.returning if failures)

    def _scale(self, now: int):
        connections, cores = self.history[max(now - self.surge.metric_seconds, 0)]
        replicas = len(self.nodes) + len(self.starting)
        wanted = self.autoscaler.decide(now, replicas, connections, cores)
        self.starting += [now + self.surge.start_seconds] * (wanted - replicas)
        for _ in range(replicas - wanted):
            # A node that is not ready yet goes first, and the youngest next, as a Deployment has it.
            if self.starting:
                self.starting.pop()
            else:
                self._drain(now)

    def _drain(self, now: int):
        """A node goes: its clients come back, each at a moment of its own."""
        clients = self.nodes.pop()
        self.seen["told"] += clients
        self.moves = [move for move in self.moves if move[0] > now - 60] + [(now, clients)]
        self.seen["most told in a minute"] = max(self.seen["most told in a minute"], sum(clients for _, clients in self.moves))
        for second in range(SPREAD):
            heapq.heappush(self.returning, (now + 1 + second, (clients + second) // SPREAD, 0))


def run(surge: Surge, settings: dict, random_balance: bool = False) -> dict:
    """What happened, in figures."""
    random.seed(1)
    service = Service(surge, settings, random_balance)
    back = None
    for now in range(surge.end):
        service.step(now)
        if back is None and now > surge.begin + surge.rise and len(service.nodes) == settings["minReplicas"]:
            back = now - (surge.begin + surge.rise + surge.hold + surge.fall)
    return {**service.seen, "back after": back}


def shipped() -> dict:
    """The chart's settings, for 20 to 200 nodes."""
    return {**yaml.safe_load(VALUES.read_text())["autoscaling"], "minReplicas": 20, "maxReplicas": 200}


def kubernetes(settings: dict) -> dict:
    """The same targets with the behavior that Kubernetes has by default."""
    fast = {"type": "Percent", "value": 100, "periodSeconds": 15}
    return {**settings, "behavior": {
        "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [fast, {"type": "Pods", "value": 4, "periodSeconds": 15}]},
        "scaleDown": {"stabilizationWindowSeconds": 300, "policies": [fast]}}}


def cases() -> list[tuple[str, Surge, dict, bool]]:
    steep = Surge(rise=120)
    dip = Surge(hold=600, fall=120)
    base = shipped()
    return [
        ("as shipped, to 1.1 million in 5 minutes", Surge(), base, False),
        ("as shipped, in 2 minutes", steep, base, False),
        ("as shipped, nodes start in 60 s", Surge(start_seconds=60), base, False),
        ("as shipped, at random in place of the fewest", Surge(), base, True),
        ("as shipped, gone within 2 minutes", dip, base, False),
        ("target 12,000 connections", Surge(), {**base, "connections": 12_000}, False),
        ("processor time alone", Surge(), {**base, "connections": 0}, False),
        ("Kubernetes' own behavior", Surge(), kubernetes(base), False),
        ("Kubernetes' own behavior, gone within 2 minutes", dip, kubernetes(base), False),
    ]


def main():
    print("| case | nodes at most | fullest node | refused, client-seconds of waiting | cores of the busiest | told to move, most in a minute | back to 20 after |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, surge, settings, random_balance in cases():
        seen = run(copy.deepcopy(surge), settings, random_balance)
        back = "not within the run" if seen["back after"] is None else f"{seen['back after'] / 60:.0f} min"
        print(f"| {name} | {seen['most nodes']} | {seen['fullest']:,} | {seen['refused']:,}, {seen['waited']:,} "
              f"| {seen['busiest']:.2f} | {seen['told']:,}, {seen['most told in a minute']:,} | {back} |")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
