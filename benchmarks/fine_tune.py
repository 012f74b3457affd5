"""Fine-tuning beside the Trainer of transformers, set up as its example for text classification is.

    python benchmarks/fine_tune.py build/review-sentiment
    python benchmarks/fine_tune.py build/review-sentiment --items epoch --rows 256 --pairs 1

epoch     one epoch in fp32, and in bf16 where the CPU has it, beside the example in fp32 with dynamic padding
padded    one epoch in fp32 beside the example as it comes: every text padded to the maximum of 128 tokens
goal      seconds until validation accuracy is 0.82, from the prepared tables

Both clocks start when everything is imported, and both read, tokenize, load the model, train one epoch in batches of
32, evaluate on the validation rows and save; ours also writes its checkpoints. To reach the goal, ours must first run
`embeddings`, because the head starts from the probe: that time counts. The peer gets the best of three learning rates,
found once by an epoch on a quarter of the rows. Both look at the validation rows eight times an epoch and stop when
they are good enough; neither is charged for the looks.
"""

import shutil
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from environments import python_of, versions
from machine import cpu_flags, machine
from pairs import (
    CHECKPOINTS,
    FAST_BF16,
    HERE,
    SPLITS,
    TOKENS,
    VECTORS,
    Measure,
    Watch,
    answer,
    copied,
    costs,
    environment,
    fewer_rows,
    interleaved,
    keep,
    medians,
    package_of,
    parser,
    peers_model,
    ratios,
    run_items,
    run_peer,
    run_stage,
)

TRAINERS_RATE = 5e-5  # its default
USUAL_RATES = (5e-5, 3e-5, 2e-5)
CLOCK = "imports outside the clock; reading, loading, one epoch in batches of 32, evaluation and saving inside"


def main() -> None:
    """Measure the items that the command line names."""
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=1152, help="training and other rows; default: %(default)s")
    made.add_argument("--padded-rows", type=int, default=640, help="the same for padded; default: %(default)s")
    made.add_argument("--goal-rows", type=int, default=100_000, help="the same for goal; default: all")
    made.add_argument("--goal-pairs", type=int, default=1, help="turns for goal; default: %(default)s")
    made.add_argument("--goal", type=float, default=0.82, help="accuracy; default: %(default)s")
    made.add_argument("--epochs", type=int, default=3, help="of the peer, at most, for goal; default: %(default)s")
    run_items(made, "fine-tune", {"epoch": epoch, "padded": padded, "goal": goal})


def epoch(arguments: Any, folder: Path) -> None:
    """Beside the example with dynamic padding."""
    watch = Watch()
    projects = {"ours": copied(arguments.project, folder / "ours", {"fine_tune.epochs": 1})}
    if FAST_BF16 & cpu_flags():
        changes = {"fine_tune.epochs": 1, "compute.precision": "bf16"}
        projects["bf16"] = copied(arguments.project, folder / "bf16", changes)
    else:
        print("  without bf16: this CPU has neither AMX nor AVX512-BF16")
    for project in projects.values():
        fewer_rows(project, arguments.rows)
    sides = {name: partial(tune, project) for name, project in projects.items()}
    sides["peer"] = partial(example, projects["ours"], folder, "--rate", TRAINERS_RATE)
    rounds = interleaved(sides, arguments.pairs)
    for name, side, bar in (("fp32", "ours", 1.7), ("bf16", "bf16", 2.8)):
        if side in projects:
            keep(
                f"fine-tune-{name}",
                peer="the Trainer's example, fp32, dynamic padding",
                compared=f"{size_of(projects[side])}; {CLOCK}; {both(rounds)}",
                measures=[Measure("times as fast", ratios(rounds, "peer", side), at_least=bar)],
                costs=costs(rounds, side),
                machine=versions_of_both(),
                watch=watch,
            )


def padded(arguments: Any, folder: Path) -> None:
    """Beside the example as it comes."""
    watch = Watch()
    project = copied(arguments.project, folder / "ours", {"fine_tune.epochs": 1})
    fewer_rows(project, arguments.padded_rows)
    sides = {
        "ours": partial(tune, project),
        "peer": partial(example, project, folder, "--rate", TRAINERS_RATE, "--pad-to-max"),
    }
    rounds = interleaved(sides, arguments.pairs)
    keep(
        "fine-tune-padded",
        peer="the Trainer's example as it comes, fp32, padded to 128 tokens",
        compared=f"{size_of(project)}; {CLOCK}; {both(rounds)}",
        measures=[Measure("times as fast", ratios(rounds, "peer", "ours"), at_least=4.0)],
        costs=costs(rounds, "ours"),
        machine=versions_of_both(),
        watch=watch,
    )


def goal(arguments: Any, folder: Path) -> None:
    """Seconds until the validation accuracy is good enough."""
    watch = Watch()
    project = copied(arguments.project, folder / "ours")
    fewer_rows(project, arguments.goal_rows)
    best = best_rate(project, folder)
    options = ("--rate", best, "--epochs", arguments.epochs, "--until", arguments.goal)
    sides = {
        "ours": partial(with_probe, project, arguments.goal),
        "peer": partial(example, project, folder, *options),
    }
    rounds = interleaved(sides, arguments.goal_pairs)
    theirs = [one["peer"]["reached"] or one["peer"]["seconds"] for one in rounds]
    reached = {
        side: "reached" if all(one[side]["reached"] for one in rounds) else "NOT REACHED" for side in ("ours", "peer")
    }

    def times(part: str) -> list[float]:
        """Our seconds in each pair into those of the peer; 0 where we did not get there."""
        own = [one["ours"]["reached"] and one["ours"][part] for one in rounds]
        return [other / seconds if seconds else 0.0 for other, seconds in zip(theirs, own, strict=True)]

    keep(
        "fine-tune-goal",
        peer=f"the Trainer's example, fp32, dynamic padding, learning rate {best:g}, of"
        f" {', '.join(format(rate, 'g') for rate in USUAL_RATES)} the best in an epoch on a quarter of the rows",
        compared=f"{size_of(project)}; imports and looks at the validation rows, eight an epoch, outside the clock;"
        f" ours: embeddings {medians(rounds, 'ours', 'embedding'):.0f} s, fine_tune"
        f" {medians(rounds, 'ours', 'tuning'):.0f} s, accuracy {medians(rounds, 'ours', 'accuracy'):.3f}"
        f" ({reached['ours']}); the peer: {statistics.median(theirs):.0f} s, accuracy"
        f" {medians(rounds, 'peer', 'accuracy'):.3f} ({reached['peer']})",
        measures=[
            Measure(f"times as fast to accuracy {arguments.goal}", times("seconds"), at_least=2.0),
            Measure("the same where the probe is there already", times("tuning")),
        ],
        costs={name: medians(rounds, "ours", name) for name in ("embedding", "tuning")},
        machine=versions_of_both(),
        watch=watch,
    )


def best_rate(project: Path, folder: Path) -> float:
    """The learning rate with which the peer learns most in an epoch on a quarter of the rows."""
    part = copied(project, folder / "part")
    heights = [pl.read_parquet(part / f"data/processed/{split}.parquet").height for split in SPLITS]
    fewer_rows(part, sum(heights) // 4)
    found = {rate: example(part, folder, "--rate", rate)["accuracy"] for rate in USUAL_RATES}
    print("  " + "; ".join(f"learning rate {rate:g}: {accuracy:.3f}" for rate, accuracy in found.items()), flush=True)
    return max(found, key=lambda rate: found[rate])


def tune(project: Path) -> dict[str, Any]:
    """Run the stage; also its validation accuracy."""
    found = run_stage(project, "fine_tune")
    curve = pl.read_csv(project / "reports/training_curve.csv")
    return found | {"accuracy": curve["validation_accuracy"].drop_nulls()[-1]}


def with_probe(project: Path, goal: float) -> dict[str, Any]:
    """Run embeddings, nothing kept from before, and fine_tune until it is good enough."""
    for kept in (VECTORS, TOKENS, CHECKPOINTS):
        shutil.rmtree(project / kept, ignore_errors=True)
    embedding = run_stage(project, "embeddings")["seconds"]
    command = [sys.executable, HERE / "until.py", package_of(project), goal]
    tuning = answer(command, project, environment(project))
    return tuning | {"seconds": embedding + tuning["seconds"], "embedding": embedding, "tuning": tuning["seconds"]}


def example(project: Path, folder: Path, *options: object) -> dict[str, Any]:
    """Run the peer on the same rows."""
    tables = [project / f"data/processed/{split}.parquet" for split in ("train", "validation")]
    return run_peer(python_of("peers"), "train.py", peers_model(), *tables, folder / "theirs", *options)


def size_of(project: Path) -> str:
    """How many rows the project holds."""
    return f"{rows_of(project, 'train')} training and {rows_of(project, 'validation')} validation rows"


def rows_of(project: Path, split: str) -> int:
    """How many rows a split holds."""
    return pl.read_parquet(project / f"data/processed/{split}.parquet").height


def both(rounds: list[dict[str, Any]]) -> str:
    """What each side took and reached."""
    return "; ".join(
        f"{side} {medians(rounds, side):.1f} s, accuracy {medians(rounds, side, 'accuracy'):.3f}" for side in rounds[0]
    )


def versions_of_both() -> str:
    """The machine, and what both sides import."""
    return f"{machine('torch', 'transformers')}, {versions('peers', 'accelerate', 'datasets')}"


if __name__ == "__main__":
    main()
