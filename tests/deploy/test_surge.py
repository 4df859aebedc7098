"""The chart's autoscaling in the model of deploy/surge, by the settings that values.yaml ships."""

import sys

from conftest import DEPLOY

sys.path.insert(0, str(DEPLOY / "surge"))

from autoscaler import Autoscaler  # noqa: E402
from model import Surge, kubernetes, nodes_for, run, shipped  # noqa: E402

SHORT = {"end": 1_500}


def test_nodes_by_the_rule_refuse_nobody_and_fewer_do():
    for surge in (Surge(**SHORT), Surge(rise=120, **SHORT), Surge(start_seconds=60, **SHORT)):
        enough = nodes_for(surge)
        assert run(surge, {**shipped(), "minReplicas": enough})["refused"] == 0
        assert run(surge, {**shipped(), "minReplicas": enough * 6 // 10})["refused"] > 0


def test_fewer_clients_are_moved_at_once_than_by_kubernetes_own_behavior():
    surge = Surge(hold=300, fall=120, end=2_400)
    given, default = run(surge, shipped()), run(surge, kubernetes(shipped()))
    assert 0 < given["told in a minute"] * 4 < default["told in a minute"]


def test_the_autoscaler_keeps_to_its_policies():
    scaler, replicas = Autoscaler(shipped()), 20
    for now in range(0, 90, 15):
        before = replicas
        replicas = scaler.decide(now, replicas, 10_000_000, 0)
        assert replicas <= 2 * before, "at most twice as many within 15 s"
    assert replicas == 200
    for now in range(90, 975, 15):
        assert scaler.decide(now, replicas, 0, 0) == 200, "none leaves for 15 minutes"
    assert scaler.decide(990, replicas, 0, 0) == 198, "then two in a minute"
    assert scaler.decide(1_005, 198, 0, 0) == 198


def test_the_autoscaler_does_nothing_within_its_tolerance():
    scaler = Autoscaler(shipped())
    assert scaler.decide(0, 50, 50 * 6_000 * 1.09, 0) == 50
    assert scaler.decide(15, 50, 50 * 6_000 * 1.2, 0) == 60
