"""What `make search` decides: by seeds and scores, never by when they came."""

import pytest

optuna = pytest.importorskip("optuna", reason="optuna is not installed: make search")

import search  # noqa: E402
from optuna.trial import TrialState  # noqa: E402
from small_project import params_with  # noqa: E402

PARAMS = params_with()


def study_with(*curves: list[float]) -> optuna.Study:
    """A search in which trials of these validation scores ran to their end."""
    pruner = optuna.pruners.MedianPruner(n_startup_trials=search.COMPLETE_TRIALS)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for number, curve in enumerate(curves, 1):
        trial = search.ask(study, PARAMS, number)
        assert not search.falls_behind(trial, [], curve, epochs=len(curve))
        study.tell(trial, max(curve))
    return study


@pytest.mark.parametrize("arrivals", [[1, 2, 3], [3], [0, 2, 2, 3]])
@pytest.mark.parametrize(
    ("scores", "behind"),
    [([0.6, 0.9, 0.9], True), ([0.8, 0.9, 0.9], False), ([0.8, 0.8, 0.9], True), ([0.9, 0.9, 0.1], False)],
)
def test_a_trial_is_ended_by_its_scores_not_by_when_they_are_read(
    arrivals: list[int], scores: list[float], behind: bool
) -> None:
    study = study_with([0.7, 0.8, 0.95], [0.8, 0.85, 0.95], [0.75, 0.85, 0.85])
    trial, seen = search.ask(study, PARAMS, 4), []
    assert any(search.falls_behind(trial, seen, scores[:known], epochs=3) for known in arrivals) == behind


def test_no_trial_is_ended_before_there_is_something_to_compare_with() -> None:
    study = study_with([0.9, 0.9], [0.9, 0.9])
    assert not search.falls_behind(search.ask(study, PARAMS, 3), [], [0.1], epochs=2)


def test_a_killed_trial_gets_its_parameters_again() -> None:
    unbroken, broken = (study_with(*[[0.5 + n / 100] for n in range(7)]) for _ in range(2))
    killed = search.ask(broken, PARAMS, 8)
    broken.tell(killed, state=TrialState.FAIL)
    again, never_killed = search.ask(broken, PARAMS, 8), search.ask(unbroken, PARAMS, 8)
    assert killed.params == again.params == never_killed.params


def test_every_trial_draws_anew() -> None:
    first, second = (search.ask(study_with(), PARAMS, number) for number in (1, 2))
    assert first.params != second.params


def test_the_earliest_of_equals_is_the_best() -> None:
    number, trial = search.best_of(study_with([0.5], [0.9], [0.9])) or (0, None)
    assert number == 2
    assert trial is not None


def test_a_range_is_written_in_numbers_that_can_be_read() -> None:
    values = search.values_of(search.ask(study_with(), PARAMS, 1))
    assert values.keys() == PARAMS.search.keys()
    assert len(f"{values['fine_tune.learning_rate']:g}".rstrip("0").partition("e")[0].replace(".", "").strip("0")) <= 3
    assert 0.00001 <= values["fine_tune.learning_rate"] <= 0.0005
    assert isinstance(values["fine_tune.batch_size"], int)
