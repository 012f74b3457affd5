"""Fine-tuning beside the Trainer of transformers, set up as its example for text classification is.

    python benchmarks/fine_tune.py build/review-sentiment
    python benchmarks/fine_tune.py build/review-sentiment --items dynamic --rows 256 --pairs 1

dynamic   one epoch in fp32 beside the example with dynamic padding
padded    the same beside the example as it comes: every text padded to the maximum of 128 tokens
bf16      ours in bf16, beside ours in fp32 and the peer in fp32 with dynamic padding
goal      seconds until validation accuracy is 0.82, from the prepared tables

Both clocks start when everything is imported, and both read, tokenize, load the model, train one epoch in batches of
32, evaluate on the validation rows and save; ours also writes its checkpoints. To reach the goal, ours must first run
`embeddings`, because the head starts from the probe: that time counts. The peer gets the best of three learning rates,
found once, and is not charged for the evaluations that tell it when to stop.
"""

import statistics
from pathlib import Path
from typing import Any

import polars as pl
from environments import python_of, versions
from machine import cpu_flags, machine
from pairs import (
    FAST_BF16,
    Measure,
    Watch,
    by_turns,
    copied,
    costs,
    fewer_rows,
    item,
    keep,
    medians,
    parser,
    peers_model,
    ratios,
    run_peer,
    run_stage,
)

TRAINERS_RATE = 5e-5  # its default
USUAL_RATES = (2e-5, 3e-5, 5e-5)
GOAL = 0.82
CLOCK = "imports outside the clock; reading, loading, one epoch in batches of 32, evaluation and saving inside"


def main() -> None:
    """Measure the items that the command line names."""
    made = parser(__doc__)
    made.add_argument("--items", nargs="+", default=["dynamic", "padded", "bf16", "goal"])
    made.add_argument("--rows", type=int, default=1536, help="training and other rows; default: %(default)s")
    made.add_argument("--padded-rows", type=int, default=512, help="the same for padded; default: %(default)s")
    made.add_argument("--goal-rows", type=int, default=100_000, help="the same for goal; default: all")
    made.add_argument("--goal-pairs", type=int, default=1, help="turns for goal; default: %(default)s")
    made.add_argument("--epochs", type=int, default=3, help="of the peer, at most, for goal; default: %(default)s")
    arguments = made.parse_args()
    for name in arguments.items:
        with item(f"fine-tune-{name}") as folder:
            {"dynamic": dynamic, "padded": padded, "bf16": bf16, "goal": goal}[name](arguments, folder)


def dynamic(arguments: Any, folder: Path) -> None:
    """Beside the example with dynamic padding."""
    beside_example(arguments, folder, "dynamic", arguments.rows, 1.7)


def padded(arguments: Any, folder: Path) -> None:
    """Beside the example as it comes."""
    beside_example(arguments, folder, "padded", arguments.padded_rows, 4.0, "--pad-to-max")


def beside_example(arguments: Any, folder: Path, name: str, rows: int, bar: float, *options: str) -> None:
    """One epoch of each, by turns."""
    watch = Watch()
    project = copied(arguments.project, folder / "ours", {"fine_tune.epochs": 1})
    fewer_rows(project, rows)
    sides = {"ours": lambda: tune(project), "peer": lambda: example(project, folder, "--rate", TRAINERS_RATE, *options)}
    rounds = by_turns(sides, arguments.pairs)
    keep(
        f"fine-tune-{name}",
        peer=f"the Trainer's example, fp32, {'padded to 128 tokens' if options else 'dynamic padding'}",
        compared=f"{size_of(project)}; {CLOCK}; {both(rounds)}",
        measures=[Measure("times as fast", ratios(rounds, "peer", "ours"), at_least=bar)],
        costs=costs(rounds, "ours"),
        machine=versions_of_both(),
        watch=watch,
    )


def bf16(arguments: Any, folder: Path) -> None:
    """Ours in bf16, both in fp32."""
    watch = Watch()
    if not FAST_BF16 & cpu_flags():
        print("  left out: this CPU has neither AMX nor AVX512-BF16")
        return
    project = copied(arguments.project, folder / "ours", {"fine_tune.epochs": 1, "compute.precision": "bf16"})
    exact = copied(arguments.project, folder / "exact", {"fine_tune.epochs": 1})
    fewer_rows(project, arguments.rows)
    fewer_rows(exact, arguments.rows)
    sides = {
        "ours": lambda: tune(project),
        "exact": lambda: tune(exact),
        "peer": lambda: example(project, folder, "--rate", TRAINERS_RATE),
    }
    rounds = by_turns(sides, arguments.pairs)
    keep(
        "fine-tune-bf16",
        peer="the Trainer's example, fp32, dynamic padding",
        compared=f"{size_of(project)}; {CLOCK}; {both(rounds)}",
        measures=[
            Measure("times as fast", ratios(rounds, "peer", "ours"), at_least=2.8),
            Measure("times as fast as ours in fp32", ratios(rounds, "exact", "ours")),
        ],
        costs=costs(rounds, "ours"),
        machine=versions_of_both(),
        watch=watch,
    )


def goal(arguments: Any, folder: Path) -> None:
    """Seconds until the validation accuracy is good enough."""
    watch = Watch()
    project = copied(arguments.project, folder / "ours")
    fewer_rows(project, arguments.goal_rows)
    found = {}
    for rate in USUAL_RATES:
        found[rate] = to_goal(arguments, project, folder, rate)
        print(f"  learning rate {rate:g}: {found[rate]['reached']} s", flush=True)
    reached = {rate: one for rate, one in found.items() if one["reached"] is not None}
    if not reached:
        print(f"  the peer did not reach {GOAL}: no ratio")
        return
    best = min(reached, key=lambda rate: reached[rate]["reached"])
    sides = {"ours": lambda: with_probe(project), "peer": lambda: to_goal(arguments, project, folder, best)}
    # The run that found the best rate is the peer's turn of the first pair.
    rounds = [{"ours": with_probe(project), "peer": found[best]}, *by_turns(sides, arguments.goal_pairs - 1)]
    enough = statistics.median(one["ours"]["accuracy"] for one in rounds) >= GOAL
    reached_by_peer = [one["peer"]["reached"] or one["peer"]["seconds"] for one in rounds]
    ours = [one["ours"]["seconds"] for one in rounds]
    alone = [one["ours"]["tuning"] for one in rounds]
    keep(
        "fine-tune-goal",
        peer=f"the Trainer's example, fp32, dynamic padding, learning rate {best:g}, the best of"
        f" {', '.join(format(rate, 'g') for rate in USUAL_RATES)}",
        compared=f"{size_of(project)}; imports outside the clock; ours: embeddings and one run of fine_tune,"
        f" {statistics.median(ours):.0f} s, accuracy {medians(rounds, 'ours', 'accuracy'):.3f}"
        f" ({'reached' if enough else 'NOT REACHED'}); the peer's evaluations before do not count,"
        f" {statistics.median(reached_by_peer):.0f} s",
        measures=[
            Measure(
                f"times as fast to accuracy {GOAL}",
                [theirs / own if enough else 0.0 for theirs, own in zip(reached_by_peer, ours, strict=True)],
                at_least=2.0,
            ),
            Measure(
                "the same where the probe is there already",
                [theirs / own if enough else 0.0 for theirs, own in zip(reached_by_peer, alone, strict=True)],
            ),
        ],
        costs=costs(rounds, "ours"),
        machine=versions_of_both(),
        watch=watch,
    )


def tune(project: Path) -> dict[str, Any]:
    """Run the stage; also its validation accuracy."""
    found = run_stage(project, "fine_tune")
    curve = pl.read_csv(project / "reports/training_curve.csv")
    return found | {"accuracy": curve["validation_accuracy"].drop_nulls()[-1]}


def with_probe(project: Path) -> dict[str, Any]:
    """Run both stages, nothing kept from before."""
    embedding = run_stage(project, "embeddings")
    tuning = tune(project)
    return tuning | {"seconds": embedding["seconds"] + tuning["seconds"], "tuning": tuning["seconds"]}


def example(project: Path, folder: Path, *options: object) -> dict[str, Any]:
    """Run the peer on the same rows."""
    tables = [project / f"data/processed/{split}.parquet" for split in ("train", "validation")]
    return run_peer(python_of("peers"), "train.py", peers_model(), *tables, folder / "theirs", *options)


def to_goal(arguments: Any, project: Path, folder: Path, rate: float) -> dict[str, Any]:
    """Run the peer until it is good enough."""
    return example(project, folder, "--rate", rate, "--epochs", arguments.epochs, "--until", GOAL)


def size_of(project: Path) -> str:
    """How many rows the project holds."""
    heights = [pl.read_parquet(project / f"data/processed/{split}.parquet").height for split in ("train", "validation")]
    return f"{heights[0]} training and {heights[1]} validation rows"


def both(rounds: list[dict[str, Any]]) -> str:
    """What each side took and reached."""
    return "; ".join(
        f"{side} {medians(rounds, side):.1f} s, accuracy {medians(rounds, side, 'accuracy'):.3f}" for side in rounds[0]
    )


def versions_of_both() -> str:
    """The machine, and what both sides import."""
    return f"{machine('torch', 'transformers', 'accelerate')}, {versions('peers', 'datasets')}"


if __name__ == "__main__":
    main()
