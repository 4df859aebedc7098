"""What the chart's autoscaling does in a surge: 20 to 200 nodes, by a model of a second a step.

    python3 deploy/surge/model.py                # needs PyYAML; the table of docs/deployment.md

A node is what `calibrate.py` measured on a real one. Clients hold a WebSocket each, get pushes, and come back as docs/client.md says:
after a drain within session.reconnect_spread, after a refusal by backoff. The network, the proxy and the databases are not in it.
"""

import math
from collections import defaultdict
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

    connect: float = 54e-6  # seconds of the processor for a new WebSocket with a subscription
    push: float = 7.5e-6  # for a state sent to a subscriber
    read: float = 5.6e-6  # for a read that L1 answers


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

    def wish(self, now: int) -> float:
        past = now - self.begin
        if past < self.rise:
            share = max(past, 0) / self.rise
        else:
            share = 1 - min(max(past - self.rise - self.hold, 0) / self.fall, 1)
        return self.least + (self.most - self.least) * share


class Service:
    """Nodes, the clients on them, and those that are waiting to come back. Clients are a quantity: parts of one are no fault."""

    def __init__(self, surge: Surge, settings: dict, random_balance: bool):
        self.surge, self.random_balance = surge, random_balance
        self.autoscaler = Autoscaler(settings)
        replicas = settings["minReplicas"]
        self.nodes = [surge.least / replicas] * replicas
        self.starting = []  # moments at which nodes become ready
        self.returning = defaultdict(lambda: defaultdict(float))  # moment -> failures in a row -> clients
        self.history = []  # (connections, cores) of each second
        self.moves = []  # (moment, clients told to move)
        self.seen = {"most nodes": replicas, "fullest": 0, "busiest": 0, "refused": 0, "waited": 0, "told": 0, "told in a minute": 0}

    def step(self, now: int):
        ready = [moment for moment in self.starting if moment <= now]
        self.starting = [moment for moment in self.starting if moment > now]
        self.nodes += [0] * len(ready)
        due = self.returning.pop(now, {})
        away = sum(sum(clients.values()) for clients in self.returning.values())
        missing = self.surge.wish(now) - sum(self.nodes) - away - sum(due.values())
        if missing < 0:
            stay = 1 + missing / sum(self.nodes)
            self.nodes = [clients * stay for clients in self.nodes]
        due[0] = due.get(0, 0) + max(missing, 0)
        self._measure(self._admit(now, due))
        if now % SYNC_SECONDS == 0:
            self._scale(now)

    def _admit(self, now: int, due: dict) -> list[float]:
        """Sends clients to the nodes that have the fewest, or to any; refuses what they have no room for. New ones of each node."""
        clients = sum(due.values())
        if self.random_balance:
            taken = [min(clients / len(self.nodes), CONNECTIONS_MAX - node) for node in self.nodes]
        else:
            level = self._level(min(clients, sum(CONNECTIONS_MAX - node for node in self.nodes)))
            taken = [max(level - node, 0) for node in self.nodes]
        self.nodes = [node + new for node, new in zip(self.nodes, taken)]
        refused = clients - sum(taken)
        if refused > 1:
            self.seen["refused"] += refused
            for failures, those in due.items():
                self._send_back(now, those * refused / clients, failures + 1, 0.5 * 2**min(failures, 6))
        return taken

    def _send_back(self, now: int, clients: float, failures: int, spread: float):
        """They come back within `spread` seconds, evenly."""
        seconds = math.ceil(min(spread, 20))
        for second in range(seconds):
            self.returning[now + 1 + second][failures] += clients / seconds

    def _level(self, clients: float) -> float:
        """The common level to which the emptiest nodes are filled."""
        order = sorted(self.nodes)
        below = 0.0
        for count, node in enumerate(order, 1):
            below += node
            level = (clients + below) / count
            if count == len(order) or level <= order[count]:
                return level
        return 0.0

    def _measure(self, taken: list[float]):
        surge, cost = self.surge, self.surge.node
        each = surge.pushes * cost.push + surge.reads * cost.read
        cores = [clients * each + new * cost.connect for clients, new in zip(self.nodes, taken)]
        self.history.append((sum(self.nodes), sum(cores)))
        now = {"most nodes": len(self.nodes), "fullest": max(self.nodes), "busiest": max(cores)}
        self.seen.update({name: max(self.seen[name], value) for name, value in now.items()})
        waiting = (clients for those in self.returning.values() for failures, clients in those.items() if failures)
        self.seen["waited"] += sum(waiting)

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
        self._send_back(now, clients, 0, SPREAD)
        self.moves = [move for move in self.moves if move[0] > now - 60] + [(now, clients)]
        self.seen["told"] += clients
        self.seen["told in a minute"] = max(self.seen["told in a minute"], sum(clients for _, clients in self.moves))


def run(surge: Surge, settings: dict, random_balance: bool = False) -> dict:
    """What happened, in figures."""
    service = Service(surge, settings, random_balance)
    over = surge.begin + surge.rise + surge.hold + surge.fall
    back = None
    for now in range(surge.end):
        service.step(now)
        if back is None and now > over and len(service.nodes) == settings["minReplicas"]:
            back = now - over
    return {**{name: round(value, 2) for name, value in service.seen.items()}, "back after": back}


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
    base = shipped()
    enough = {**base, "minReplicas": nodes_for(Surge())}
    return [
        ("as shipped, 20 nodes at least", Surge(), base, False),
        (f"as the rule says: {enough['minReplicas']} at least", Surge(), enough, False),
        ("the same, to random nodes", Surge(), enough, True),
        ("the same, nodes start in 60 s in place of 20", Surge(start_seconds=60), enough, False),
        (f"nodes start in 60 s, by the rule {nodes_for(Surge(start_seconds=60))}", Surge(start_seconds=60),
         {**base, "minReplicas": nodes_for(Surge(start_seconds=60))}, False),
        (f"to 1.1 million within 2 minutes, by the rule {nodes_for(Surge(rise=120))}", Surge(rise=120),
         {**base, "minReplicas": nodes_for(Surge(rise=120))}, False),
        ("gone within 2 minutes", Surge(hold=600, fall=120), enough, False),
        ("the same, Kubernetes' own behavior", Surge(hold=600, fall=120), kubernetes(enough), False),
        ("12,000 connections in place of 6,000", Surge(), {**enough, "connections": 12_000}, False),
        ("by processor time alone", Surge(), {**enough, "connections": 0}, False),
    ]


def nodes_for(surge: Surge, target: int = 6_000) -> int:
    """The least number of nodes at which none is full before help comes.

    What is there and what comes until new nodes are ready must fit; and then, as each node may take `CONNECTIONS_MAX / target` times
    what the autoscaler starts it for, so must what has come when the autoscaler's nodes, a step behind, overtake the least number.
    """
    slope = (surge.most - surge.least) / surge.rise
    late = surge.metric_seconds + SYNC_SECONDS + surge.start_seconds
    reserve = CONNECTIONS_MAX / target
    overtaken = slope * (late + SYNC_SECONDS) * reserve / (reserve - 1)
    return math.ceil(max(surge.least + slope * late, overtaken) / CONNECTIONS_MAX)


def main():
    print("| case | nodes at most | fullest node | refused attempts | waited, client-seconds | busiest node, cores | "
          "told to move | of them in a minute | back to the least after |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, surge, settings, random_balance in cases():
        seen = run(surge, settings, random_balance)
        back = "not within the run" if seen["back after"] is None else f"{seen['back after'] / 60:.0f} min"
        print(f"| {name} | {seen['most nodes']} | {seen['fullest']:,.0f} | {seen['refused']:,.0f} | {seen['waited']:,.0f} "
              f"| {seen['busiest']:.2f} | {seen['told']:,.0f} | {seen['told in a minute']:,.0f} | {back} |")


if __name__ == "__main__":
    main()
