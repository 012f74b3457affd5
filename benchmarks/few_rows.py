"""The default recipe beside SetFit, with 8 rows of each label: accuracy on the same test rows, and time.

    python benchmarks/few_rows.py build/review-sentiment
    python benchmarks/few_rows.py build/review-sentiment --name own --files a.csv b.csv --text utterance --label intent

Each draw takes other rows, with labels as they come; the test rows are others, at most 2,000. Both get the drawn rows
and all-MiniLM-L6-v2. Of its own ours keeps an eighth for validation, a quarter of fewer than 100. Our clock has
`embeddings` and `fine_tune`, SetFit's reading, training and predicting the test rows.
"""

from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from environments import python_of, versions
from machine import machine
from pairs import Measure, Watch, interleaved, item, keep, parser, peers_model, ratios, run_peer
from recipe import SETS, each, ours, prepared, table_of

PER_LABEL, TEST_ROWS = 8, 2000
FEW = 100  # rows, of which an eighth may be none


def main() -> None:
    """Measure the sets that the command line names."""
    made = parser(__doc__)
    made.add_argument("--sets", nargs="*", choices=["reviews", "german"], help="default: both, without --files")
    made.add_argument("--draws", nargs="+", type=int, default=[1, 2, 3, 4, 5], help="their seeds; default: 1 to 5")
    made.add_argument("--name", default="own", help="of a table of your own; default: %(default)s")
    made.add_argument("--files", nargs="+", type=Path, help="its CSV files")
    made.add_argument("--text", default="text", help="its column of texts; default: %(default)s")
    made.add_argument("--label", default="label", help="its column of labels; default: %(default)s")
    arguments = made.parse_args()
    chosen = {name: SETS[name] for name in arguments.sets or ([] if arguments.files else ["reviews", "german"])}
    if arguments.files:
        chosen[arguments.name] = partial(table_of, arguments.files, arguments.text, arguments.label)
    for name, rows in chosen.items():
        with item(f"few-rows-{name}") as folder:
            measure(name, rows(), arguments, folder)


def measure(name: str, table: pl.DataFrame, arguments: Any, folder: Path) -> None:
    """Both, one draw after the other."""
    watch, rounds = Watch(), []
    for number, seed in enumerate(arguments.draws):
        train, test = drawn(table, seed)
        more = {"prepare.validation_fraction": 0.25} if train.height < FEW else {}
        project = prepared(arguments.project, {"train": train, "test": test}, seed, folder / str(seed), more)
        sides = {"ours": partial(ours, project), "peer": partial(setfit, project, seed)}
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        rounds += interleaved({side: sides[side] for side in order}, 1)
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
