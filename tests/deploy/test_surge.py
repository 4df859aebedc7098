"""The chart's autoscaling in the model of deploy/surge, by the settings that values.yaml ships."""

import sys

from conftest import DEPLOY

sys.path.insert(0, str(DEPLOY / "surge"))

from autoscaler import Autoscaler  # noqa: E402
from model import Surge, kubernetes, run, shipped  # noqa: E402

SHORT = {"end": 5_400}


def test_a_surge_from_20_to_200_nodes_refuses_nobody():
    seen = run(Surge(**SHORT), shipped())
    assert seen["refused"] == 0 and 180 <= seen["most nodes"] <= 200


def test_nodes_leave_later_and_move_fewer_clients_at_once_than_by_default():
    given, default = run(Surge(**SHORT), shipped()), run(Surge(**SHORT), kubernetes(shipped()))
    assert given["most told in a minute"] * 4 < default["most told in a minute"]


def test_the_autoscaler_keeps_to_its_policies():
    scaler, replicas = Autoscaler(shipped()), 20
    for now in range(0, 120, 15):
        before = replicas
        replicas = scaler.decide(now, replicas, 10_000_000, 0)
        assert replicas <= 2 * before, "at most twice as many within 30 s"
    assert replicas == 200
    for now in range(120, 1_020, 15):
        assert scaler.decide(now, replicas, 0, 0) == 200, "none leaves for 15 minutes"
    assert scaler.decide(1_050, replicas, 0, 0) == 195, "then five in two minutes"


def test_the_autoscaler_does_nothing_within_its_tolerance():
    scaler = Autoscaler(shipped())
    assert scaler.decide(0, 50, 50 * 6_000 * 1.09, 0) == 50
    assert scaler.decide(15, 50, 50 * 6_000 * 1.2, 0) == 60
