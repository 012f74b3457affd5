"""The project's own kernels beside plain torch and transformers: `compute.kernels: fast` and `plain`.

    python benchmarks/kernels.py build/review-sentiment
    python benchmarks/kernels.py build/review-sentiment --rows 640 --pairs 1

Each side embeds all texts and fine-tunes, with the project's other parameters as they are; both clocks start when
everything is imported. The difference in validation accuracy is in standard errors of the accuracy.
"""

import math
from functools import partial
from pathlib import Path
from typing import Any

from embeddings import embed
from fine_tune import rows_of, size_of, tune
from machine import machine
from pairs import Measure, Watch, copied, costs, fewer_rows, interleaved, item, keep, medians, parser, ratios

STAGES = ("embeddings", "fine_tune")


def main() -> None:
    """Measure."""
    made = parser(__doc__, pairs=3)
    made.add_argument("--rows", type=int, default=100_000, help="of all splits; default: all")
    arguments = made.parse_args()
    with item("kernels") as folder:
        watch = Watch()
        projects = {
            name: copied(arguments.project, folder / name, {"compute.kernels": name}) for name in ("fast", "plain")
        }
        for project in projects.values():
            fewer_rows(project, arguments.rows)
        sides = {name: partial(both_stages, project) for name, project in projects.items()}
        rounds = interleaved(sides, arguments.pairs)
        reached = ", ".join(f"{name} {medians(rounds, name, 'accuracy'):.3f}" for name in projects)
        seconds = "; ".join(
            f"{stage}: fast {medians(rounds, 'fast', stage):.1f} s, plain {medians(rounds, 'plain', stage):.1f} s"
            for stage in STAGES
        )
        keep(
            "kernels",
            peer="the same stages with `compute.kernels: plain`",
            compared=f"{size_of(projects['fast'])}; imports outside the clock; {seconds};"
            f" validation accuracy: {reached}",
            measures=[
                *(Measure(f"{stage}: times as fast", ratios(rounds, "plain", "fast", stage)) for stage in STAGES),
                Measure(
                    "validation accuracy: standard errors apart",
                    [apart(found["fast"], found["plain"]) for found in rounds],
                    at_most=1,
                    unit="",
                ),
            ],
            costs=costs(rounds, "fast"),
            machine=machine("torch", "transformers"),
            watch=watch,
        )


def both_stages(project: Path) -> dict[str, Any]:
    """Run both; the seconds of each, and the accuracy on so many validation rows."""
    embedding, tuning = embed(project), tune(project)
    return {
        "embeddings": embedding["seconds"],
        "fine_tune": tuning["seconds"],
        "processor": embedding["processor"] + tuning["processor"],
        "parts": embedding["parts"] | tuning["parts"],
        "accuracy": tuning["accuracy"],
        "validation_rows": rows_of(project, "validation"),
    }


def apart(fast: dict[str, Any], plain: dict[str, Any]) -> float:
    """The difference between two accuracies, in standard errors of one."""
    accuracy = plain["accuracy"]
    return abs(fast["accuracy"] - accuracy) / math.sqrt(accuracy * (1 - accuracy) / plain["validation_rows"])


if __name__ == "__main__":
    main()
