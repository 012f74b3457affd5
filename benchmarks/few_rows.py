"""The default recipe beside SetFit, with 8 rows of each label: accuracy on the same test rows, and time.

    python benchmarks/few_rows.py build/review-sentiment
    python benchmarks/few_rows.py build/review-sentiment --name own --files a.csv b.csv --text utterance --label intent

Each seed draws other rows, with labels as they come; the test rows are others, at most 2,000. Both get the drawn rows
and all-MiniLM-L6-v2. Of its own ours keeps an eighth for validation, a quarter of fewer than 100. Our clock has
`embeddings` and `fine_tune`, SetFit's reading, training and predicting the test rows.
"""

from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from environments import python_of, versions
from machine import machine
from pairs import Measure, Watch, keep, parser, peers_model, ratios, run_peer
from recipe import each, one_pair, ours, prepared, run_sets

PER_LABEL, TEST_ROWS = 8, 2000
FEW = 100  # rows, of which an eighth may be none


def main() -> None:
    """Measure the sets that the command line names."""
    run_sets(parser(__doc__), "few-rows", ["reviews", "german"], [1, 2, 3, 4, 5], measure)


def measure(name: str, table: pl.DataFrame, arguments: Any, folder: Path) -> None:
    """Both, one draw after the other."""
    watch, rounds = Watch(), []
    for number, seed in enumerate(arguments.seeds):
        train, test = drawn(table, seed)
        more = {"prepare.validation_fraction": 0.25} if train.height < FEW else {}
        project = prepared(arguments.project, {"train": train, "test": test}, seed, folder / str(seed), more)
        sides = {"ours": partial(ours, project), "peer": partial(setfit, project, seed)}
        rounds += one_pair(sides, number)
    keep(
        f"few-rows-{name}",
        peer="SetFit, 20 pairs a row each way",
        compared=f"{PER_LABEL} rows of each of {table['label'].n_unique()} labels, {test.height:,} test rows; accuracy"
        f" by draw: ours {each(rounds, 'ours')}; SetFit {each(rounds, 'peer')}; our probe"
        f" {each(rounds, 'ours', 'probe')}",
        measures=[
            Measure(
                "accuracy, points more",
                [100 * (one["ours"]["accuracy"] - one["peer"]["accuracy"]) for one in rounds],
                at_least=0,
                unit="",
            ),
            Measure("times as fast", ratios(rounds, "peer", "ours"), at_least=2),
        ],
        machine=f"{machine('torch', 'transformers')}; {versions('setfit', 'setfit', 'transformers')}",
        watch=watch,
    )


def drawn(table: pl.DataFrame, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """So many rows of each label, and others; each text once."""
    shuffled = table.unique("text", keep="first", maintain_order=True).sample(fraction=1.0, shuffle=True, seed=seed)
    chosen = pl.int_range(pl.len()).over("label") < PER_LABEL
    return shuffled.filter(chosen), shuffled.filter(~chosen).head(TEST_ROWS)


def setfit(project: Path, seed: int) -> dict[str, Any]:
    """Train SetFit on the rows of training and validation together, and classify the test rows."""
    tables = {split: project / f"data/processed/{split}.parquet" for split in ("train", "validation", "test")}
    both = project / "both.parquet"
    pl.concat([pl.read_parquet(tables[split]) for split in ("train", "validation")]).write_parquet(both)
    return run_peer(python_of("setfit"), "setfit_.py", peers_model(), both, tables["test"], seed)


if __name__ == "__main__":
    main()
