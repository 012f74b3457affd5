"""What one busy process beside it costs, with threads that yield their core while they wait and with ones that spin.

    python benchmarks/neighbours.py build/review-sentiment
    python benchmarks/neighbours.py build/review-sentiment --items predict --pairs 1

fine-tune   the stage on few rows
predict     many texts, and texts one by one, with ONNX int8

Four sides in turn on two processors: yielding (as the project sets it) and spinning (the defaults of OpenMP and
onnxruntime), each alone and beside `while True: pass`. Run it on a machine that has nothing else to do.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fine_tune import size_of, tune
from machine import machine
from pairs import Measure, Watch, copied, fewer_rows, interleaved, keep, medians, parser, ratios, run_items
from pipeline import ours, write_texts
from stage import SPIN

QUIET_AT_MOST, BUSY_AT_MOST = 1.08, 2.0


def main() -> None:
    """Measure the items that the command line names."""
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=640, help="of all splits, for fine-tune; default: %(default)s")
    made.add_argument("--texts", type=int, default=1536, help="of a stream, for predict; default: %(default)s")
    made.add_argument("--single", type=int, default=384, help="one by one, for predict; default: %(default)s")
    run_items(made, "neighbours", {"fine-tune": fine_tune, "predict": predict})


def fine_tune(arguments: Any, folder: Path) -> None:
    """The stage, imports outside the clock."""
    watch = Watch()
    project = copied(arguments.project, folder / "ours", {"fine_tune.epochs": 1})
    fewer_rows(project, arguments.rows)
    rounds = interleaved(four_sides(lambda: tune(project)), arguments.pairs)
    record("neighbours-fine-tune", f"{size_of(project)}; imports outside the clock", {"": rounds}, watch, "torch")


def predict(arguments: Any, folder: Path) -> None:
    """Prediction, imports and loading outside the clock."""
    watch = Watch()
    project = copied(arguments.project, folder / "ours")
    found = {}
    for name, texts, options in (("stream", arguments.texts, ()), ("one by one", arguments.single, ("--one-by-one",))):
        path = write_texts(project, folder / f"{texts}.jsonl", texts)
        found[name] = interleaved(four_sides(partial(ours, project, path, "int8", *options)), arguments.pairs)
    what = (
        f"ONNX int8, {arguments.texts} texts in a stream and {arguments.single} one by one; loading outside the clock"
    )
    record("neighbours-predict", what, found, watch, "onnxruntime")


def four_sides(work: Callable[[], dict[str, Any]]) -> dict[str, Callable[[], dict[str, Any]]]:
    """The work, yielding and spinning, alone and beside a busy process."""

    def side(spin: bool, busy: bool) -> dict[str, Any]:
        with spinning(spin), neighbour(busy):
            return work()

    return {
        f"{waiting}, {place}": partial(side, waiting == "spinning", place == "busy")
        for place in ("quiet", "busy")
        for waiting in ("yielding", "spinning")
    }


@contextmanager
def spinning(spin: bool) -> Iterator[None]:
    """Let threads that wait spin, in the processes that are started meanwhile."""
    if spin:
        os.environ[SPIN] = "1"
    try:
        yield
    finally:
        os.environ.pop(SPIN, None)


@contextmanager
def neighbour(busy: bool) -> Iterator[None]:
    """One other process that never waits, on the same processors."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        yield
    finally:
        if process:
            process.kill()
            process.wait()


def record(name: str, what: str, found: dict[str, list[dict[str, Any]]], watch: Watch, library: str) -> None:
    """Keep the ratios of each kind of work."""
    measures, seconds = [], []
    for kind, rounds in found.items():
        lead = f"{kind}: " if kind else ""
        measures += [
            Measure(
                f"{lead}time alone, yielding to spinning",
                ratios(rounds, "yielding, quiet", "spinning, quiet"),
                at_most=QUIET_AT_MOST,
            ),
            Measure(
                f"{lead}time beside a busy process to time alone, yielding",
                ratios(rounds, "yielding, busy", "yielding, quiet"),
                at_most=BUSY_AT_MOST,
            ),
            Measure(f"{lead}the same, spinning", ratios(rounds, "spinning, busy", "spinning, quiet")),
        ]
        seconds += [f"{lead}{side} {medians(rounds, side):.2f} s" for side in rounds[0]]
    keep(
        name,
        peer="the same with threads that spin, and without a busy process",
        compared=f"{what}; {'; '.join(seconds)}",
        measures=measures,
        machine=machine(library),
        watch=watch,
    )


if __name__ == "__main__":
    main()
