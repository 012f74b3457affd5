"""Fine-tune a grown project until its validation accuracy is good enough, with a clock.

    python benchmarks/until.py review_sentiment 0.82      (in the project's root, its src on PYTHONPATH)

It looks at the validation rows eight times an epoch, as the peer does. The last line it prints is JSON: `reached`, the
seconds from when everything is imported to the step that was good enough, without the looks, or null; `seconds`, those
of the whole run without them; `accuracy`, what the last look gave.
"""

import importlib
import json
import sys
import time
from typing import Any

import numpy as np
from stage import loaded

LOOKS_PER_EPOCH = 8


class Reached(Exception):  # noqa: N818, it is no error
    """The accuracy is good enough."""


def main() -> None:
    """Run the stage, and stop it there."""
    package, goal = sys.argv[1], float(sys.argv[2])
    params, stage = loaded(package, "fine_tune")
    looks = Looks(importlib.import_module(f"{package}.training.loop"), goal)
    stage.train = looks.train
    start = time.perf_counter()
    try:
        stage.run(params)
        reached = None
    except Reached:
        reached = time.perf_counter() - start - looks.seconds
    print(json.dumps({"reached": reached, "seconds": time.perf_counter() - start - looks.seconds} | looks.found))


class Looks:
    """Training that looks at the validation rows now and then; `seconds` is the time that took."""

    def __init__(self, training: Any, goal: float) -> None:
        """training: the module of the project."""
        self.training = training
        self.goal = goal
        self.seconds = 0.0
        self.found: dict[str, float] = {}

    def train(self, model: Any, train_set: Any, validation_set: Any, params: Any, directory: Any) -> None:
        """The project's own `train`, with looks between its steps."""
        step, steps = self.training.train_step, 0
        between = -(-self.training.Plan.of(params.fine_tune, len(train_set)).steps_per_epoch // LOOKS_PER_EPOCH)

        def step_and_look(*arguments: Any) -> Any:
            nonlocal steps
            loss = step(*arguments)
            steps += 1
            if steps % between == 0:
                self.look(model, validation_set, params)
            return loss

        self.training.train_step = step_and_look
        self.training.train(model, train_set, validation_set, params, directory)

    def look(self, model: Any, validation: Any, params: Any) -> None:
        """Measure the accuracy; raise `Reached` when it is good enough."""
        start = time.perf_counter()
        said = self.training.logits_of(model, validation, params).argmax(axis=1)
        self.found["accuracy"] = float(np.mean(said == validation.targets(np.arange(len(validation)))))
        self.seconds += time.perf_counter() - start
        if self.found["accuracy"] >= self.goal:
            raise Reached


if __name__ == "__main__":
    main()
