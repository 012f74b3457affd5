"""How often checkpoints are written; that they are whole is what the tests of kills show."""

import pytest

from {{ cookiecutter.package_name }}.training import checkpoints
from {{ cookiecutter.package_name }}.training.checkpoints import Pace


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
