"""How often the loop stops: for a point of the curve, and for a checkpoint. Kills are tested elsewhere."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from {{ cookiecutter.package_name }}.config import FineTune
from {{ cookiecutter.package_name }}.training import checkpoints
from {{ cookiecutter.package_name }}.training.checkpoints import Pace
from {{ cookiecutter.package_name }}.training.loop import Plan


@pytest.mark.parametrize(("epoch", "epochs"), [(201, 1), (201, 3), (7, 2), (100, 50), (1, 1)])
def test_points_of_the_curve_are_means_over_equally_many_steps(epoch: int, epochs: int) -> None:
    plan = Plan.of(cast(FineTune, SimpleNamespace(epochs=epochs, batch_size=1)), rows=epoch)
    stops = [step for step in range(1, plan.steps + 1) if plan.stops_at(step)]
    lengths = np.diff([0, *stops])
    assert lengths.max() - lengths.min() <= 1
    assert {n * epoch for n in range(1, epochs + 1)} <= set(stops)  # every epoch ends with a point
    assert len(stops) >= min(24, plan.steps)


def test_checkpoints_take_a_twentieth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now)
    pace = Pace()
    assert pace.is_due()
    for seconds in (2.0, 0.5):
        with pace.measured():
            now += seconds
        now += 18.9 * seconds
        assert not pace.is_due()
        now += 0.2 * seconds
        assert pace.is_due()
