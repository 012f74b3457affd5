"""Search the ranges of `search` in params.yaml for the best validation score: `make search TRIALS=20`.

Every trial is a DVC experiment of one commit. Which parameters it gets follows from the seed and from the trials before
it, never from a clock, so a search that was killed goes on with the same command and ends as if it had not been.
`make search-apply` writes the best parameters into params.yaml. The test rows are not looked at.
"""

import argparse
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

import numpy as np
import optuna
import trials
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from ruamel.yaml import YAML

from {{ cookiecutter.package_name }}.common.tasks import MAIN_SCORE
from {{ cookiecutter.package_name }}.config import Params, load_params
from {{ cookiecutter.package_name }}.errors import UserError
from {{ cookiecutter.package_name }}.paths import PARAMS

STORAGE = f"sqlite:///{trials.SEARCH}/studies.db"
RANDOM_TRIALS = 5  # before the sampler learns from what it saw
COMPLETE_TRIALS = 3  # before one is ended that does worse than half of them
POLL_SECONDS = 0.2


def main() -> int:
    """Search, or apply what was found; 0 when that is done, 1 after a user's mistake."""
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--trials", type=int, help="how many there are in the end, those of earlier runs among them")
    what.add_argument("--apply", action="store_true", help="write the best parameters into params.yaml")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if arguments.apply:
            apply()
        else:
            search(load_params(), arguments.trials)
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on here", file=sys.stderr)
        return 130
    return 0


def search(params: Params, count: int) -> None:
    """Run trials until there are so many, and print them all."""
    if not params.search:
        raise UserError(
            "there is nothing to search",
            expected=f"ranges or choices below `search` in {PARAMS}",
            found="none",
            fix="name a parameter there, as in fine_tune.epochs: [1, 2, 3]",
        )
    commit = trials.committed_head()
    with trials.alone() as lock:
        study = study_of(commit)
        # Their numbers are given again, and so their parameters are drawn again.
        for killed in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(killed.number, state=TrialState.FAIL)
        trials.check_out(commit)
        while len(finished(study)) < count:
            run_trial(study, params, len(finished(study)) + 1, lock)
        show(study, params)


def study_of(commit: str) -> optuna.Study:
    """The search that belongs to this commit; an empty one before its first trial."""
    trials.SEARCH.mkdir(exist_ok=True)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=COMPLETE_TRIALS)
    return optuna.create_study(
        storage=STORAGE, study_name=commit, load_if_exists=True, direction="maximize", pruner=pruner
    )


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that count, in their order: those that ran to their end or were ended early."""
    return study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))


def run_trial(study: optuna.Study, params: Params, number: int, lock: TextIO) -> None:
    """Run one trial to its end, or until it has fallen behind."""
    trial = ask(study, params, number)
    values = values_of(trial)
    epochs = values.get("fine_tune.epochs", params.fine_tune.epochs)
    name, seen, behind = name_of(study, number), list[float](), False
    print(f"trial {number}: {in_words(values)}", flush=True)
    with (trials.SEARCH / f"{name}.log").open("w", encoding="utf-8") as log:
        process = trials.start(name, values, log, lock)
        try:
            while process.poll() is None and not behind:
                time.sleep(POLL_SECONDS)
                behind = falls_behind(trial, seen, trials.scores_so_far(), epochs)
        finally:
            if process.poll() is None:
                trials.end(process)
    if process.returncode and not behind:
        raise UserError(
            f"trial {number} failed",
            expected="every trial to run to its end",
            found=f"`dvc exp run` ended with {process.returncode}",
            fix=f"read {log.name}; the same command tries it again, other ranges begin another search",
        )
    if behind or falls_behind(trial, seen, trials.scores_at_the_end(), epochs):
        study.tell(trial, state=TrialState.PRUNED)
    else:
        trials.keep(name, f"{name}-{max(seen):.4f}")
        study.tell(trial, max(seen))


def ask(study: optuna.Study, params: Params, number: int) -> optuna.Trial:
    """Draw the parameters of a trial. They follow from its number, the seed and the trials that ended before it."""
    # A sampler that lives through all trials would lose its state in a kill.
    seed = int(np.random.SeedSequence([params.seed, number]).generate_state(1)[0])
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)
    return study.ask({name: distribution(name, params) for name in params.search})


def distribution(name: str, params: Params) -> BaseDistribution:
    """The choices or the range of a parameter; whole numbers where the parameter is one."""
    space = params.search[name]
    if isinstance(space, list):
        return CategoricalDistribution(space)
    block, key = name.split(".")
    if isinstance(getattr(getattr(params, block), key), int):
        return IntDistribution(int(space.low), int(space.high), log=space.log)
    return FloatDistribution(space.low, space.high, log=space.log)


def values_of(trial: optuna.Trial | FrozenTrial) -> dict[str, Any]:
    """The parameters of a trial as they are run and written: numbers from a range with three digits that tell."""
    values = dict(trial.params)
    for name, space in trial.distributions.items():
        if isinstance(space, FloatDistribution):
            values[name] = min(max(float(f"{values[name]:.3g}"), space.low), space.high)
    return values


def falls_behind(trial: optuna.Trial, seen: list[float], scores: list[float], epochs: int) -> bool:
    """Report the epochs that are new; whether one is worse than half of the trials before were by then.

    The first such epoch decides, however many are known already, and the last one never does: the answer depends on
    scores alone, not on when they were read.
    """
    for score in scores[len(seen) :]:
        seen.append(score)
        trial.report(score, step=len(seen))
        if len(seen) < epochs and trial.should_prune():
            return True
    return False


def best_of(study: optuna.Study) -> tuple[int, FrozenTrial] | None:
    """The number of the best trial and the trial, the earliest of equals; nothing before one has ended."""
    complete = [(n, trial) for n, trial in enumerate(finished(study), 1) if trial.state == TrialState.COMPLETE]
    return max(complete, key=lambda pair: (pair[1].value, -pair[0]), default=None)


def show(study: optuna.Study, params: Params) -> None:
    """Print every trial, and which is the best."""
    best = best_of(study)
    print(f"\ntrial  validation {MAIN_SCORE[params.task]}")
    for number, trial in enumerate(finished(study), 1):
        epochs = len(trial.intermediate_values)
        if trial.state == TrialState.COMPLETE:
            result = f"{trial.value:.4f}{' best' if best and number == best[0] else ''}"
        else:
            result = f"{trial.intermediate_values[epochs]:.4f} ended after epoch {epochs}"
        print(f"{number:>5}  {result:<29}{in_words(values_of(trial))}")
    if best:
        print(f"\n`make search-apply` writes the best into {PARAMS}.")


def apply() -> None:
    """Write the best parameters into params.yaml, whose comments and order stay. Raises UserError if there are none."""
    study = study_of(trials.git("rev-parse", "HEAD"))
    best = best_of(study)
    if best is None:
        raise UserError(
            "there is nothing to apply",
            expected="a search of the commit that is checked out",
            found="no trial of it that ran to its end",
            fix="make search, or check out the commit that was searched",
        )
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    values = yaml.load(PARAMS.read_text(encoding="utf-8"))
    for name, value in values_of(best[1]).items():
        block, key = name.split(".")
        values[block][key] = value
    with PARAMS.open("w", encoding="utf-8", newline="\n") as file:
        yaml.dump(values, file)
    print(f"{PARAMS} has the parameters of trial {best[0]}: {in_words(values_of(best[1]))}")


def name_of(study: optuna.Study, number: int) -> str:
    """The name of a trial's experiment."""
    return f"search-{study.study_name[:7]}-{number:02}"


def in_words(values: Mapping[str, object]) -> str:
    """Parameters in one line."""
    return " ".join(f"{name}={value}" for name, value in values.items())


if __name__ == "__main__":
    sys.exit(main())
