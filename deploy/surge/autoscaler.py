"""The rules of Kubernetes' HorizontalPodAutoscaler (autoscaling/v2), as a model: what it wants, and how fast it may have it."""

import math
from collections import deque

# The defaults of kube-controller-manager.
SYNC_SECONDS = 15
TOLERANCE = 0.1


class Autoscaler:
    """Decides how many nodes there shall be, from `settings` as they stand under `autoscaling` in the chart's values."""

    def __init__(self, settings: dict):
        self.settings = settings
        self.wanted = deque()  # (moment, replicas) within the longer of both windows
        self.changed = deque()  # (moment, replicas before, replicas after)

    def decide(self, now: int, replicas: int, connections: float, cpu: float) -> int:
        """`connections`: the sum over all nodes; `cpu`: the sum of used cores, in units of a node's request."""
        desired = self._within(max(self._for(replicas, connections, self.settings["connections"]),
                                   self._for(replicas, 100 * cpu, self.settings["cpu"])))
        self.wanted.append((now, desired))
        up, down = (self.settings["behavior"][way] for way in ("scaleUp", "scaleDown"))
        least = min(self._since(now - up["stabilizationWindowSeconds"]))
        most = max(self._since(now - down["stabilizationWindowSeconds"]))
        chosen = replicas
        if replicas < least:
            chosen = min(least, self._limit(now, replicas, up, 1))
        elif replicas > most:
            chosen = max(most, self._limit(now, replicas, down, -1))
        if chosen != replicas:
            self.changed.append((now, replicas, chosen))
        return chosen

    def _for(self, replicas: int, total: float, target: float) -> int:
        """ceil(replicas * average / target), and no change within the tolerance. A pod without figures counts as nothing."""
        if not target:
            return 0
        ratio = total / replicas / target
        return replicas if abs(ratio - 1) <= TOLERANCE else math.ceil(replicas * ratio)

    def _within(self, replicas: int) -> int:
        return min(max(replicas, self.settings["minReplicas"]), self.settings["maxReplicas"])

    def _since(self, moment: int):
        return [replicas for at, replicas in self.wanted if at >= moment]

    def _limit(self, now: int, replicas: int, behavior: dict, sign: int) -> int:
        """How far the policies let the number go: each counts what has changed within its period."""
        limits = []
        for policy in behavior["policies"]:
            recent = [after - before for at, before, after in self.changed if at > now - policy["periodSeconds"]]
            start = replicas - sum(change for change in recent if change * sign > 0)
            step = policy["value"] if policy["type"] == "Pods" else start * policy["value"] / 100
            limits.append(math.ceil(start + step) if sign > 0 else math.floor(start - step))
        least_change = behavior.get("selectPolicy", "Max") == "Min"
        limit = (min if least_change == (sign > 0) else max)(limits)
        return max(limit, replicas) if sign > 0 else min(limit, replicas)
