"""Clean the texts, drop what cannot be learned from, and split: each row by its own text, so no other can move it."""

from pathlib import Path

import polars as pl

from .. import paths
from ..cleaning import MANGLED, clean
from ..errors import UserError
from ..files import new_directory, write_json
from ..params import Params, Prepare
from ..splits import decide, key_of
from ..tables import find_tables, readable, scan

ROWS_PER_GROUP = 50_000


def run(params: Params) -> None:
    """Write `data/processed` (a table for each split and the labels) and the data profile."""
    tables = find_tables(paths.RAW)
    texts = read_all(tables, params.prepare)
    with readable(paths.RAW):
        rows = describe(texts, params.prepare).collect(engine="streaming")
    complete = rows.filter(pl.col("key").is_not_null() & pl.col("label").is_not_null())
    kept, dropped = decide(complete, params.prepare, preset=set(tables))
    labels = sorted_labels(kept["label"])
    check_labels(kept, labels)
    with new_directory(paths.PROCESSED) as new:
        for split in paths.SPLITS:
            write_split(texts, kept.filter(split=split), labels, new / paths.split_table(split).name)
        write_json(new / paths.LABELS.name, labels)
    counts = {
        "read": rows.height,
        "mended_encoding": int(rows["mangled"].sum()),
        "dropped": {"without_text_or_label": rows.height - complete.height} | dropped,
    }
    write_json(paths.DATA_PROFILE, counts | {split: profile(kept.filter(split=split)) for split in paths.SPLITS})


def read_all(tables: dict[str, Path], columns: Prepare) -> pl.LazyFrame:
    """All rows of all tables: `row`, `table`, `label`, `text` (cleaned), `mangled`."""

    def clean_all(batch: pl.Series) -> pl.Series:
        return pl.Series([text if text is None else clean(text) for text in batch], dtype=pl.String)

    parts = [scan(path, columns).with_columns(table=pl.lit(name)) for name, path in sorted(tables.items())]
    return (
        pl.concat(parts)
        .select(
            "table",
            label=pl.col("label").str.strip_chars(),
            text=pl.col("text").map_batches(clean_all, return_dtype=pl.String, is_elementwise=True),
            mangled=pl.col("text").str.contains(MANGLED),
        )
        .with_row_index("row")
    )


def describe(texts: pl.LazyFrame, params: Prepare) -> pl.LazyFrame:
    """The rows without their texts, which may not fit into memory: their keys and lengths stand for them."""

    def keys(batch: pl.Series) -> pl.Series:
        return pl.Series([key_of(text, params.split_seed) if text else None for text in batch], dtype=pl.Binary)

    filled = pl.col("label").replace("", None)
    key = pl.col("text").map_batches(keys, return_dtype=pl.Binary, is_elementwise=True)
    return texts.select("row", "table", "mangled", label=filled, key=key, characters=pl.col("text").str.len_chars())


def sorted_labels(labels: pl.Series) -> list[str]:
    """The names of the labels in an order that depends on nothing else: numbers by value, words by code point."""
    names = labels.unique().to_list()
    return sorted(names, key=int) if all(name.isascii() and name.isdigit() for name in names) else sorted(names)


def check_labels(kept: pl.DataFrame, labels: list[str]) -> None:
    """Refuse a table that cannot be learned from or measured on."""
    trained = set(kept.filter(split="train")["label"])
    missing = [label for label in labels if label not in trained]
    empty = [split for split in paths.SPLITS if kept.filter(split=split).is_empty()]
    if len(labels) < 2 or missing or empty:
        raise UserError(
            f"{paths.RAW} cannot be split into training, validation and test rows",
            expected="at least two labels, each with training rows, and rows in every split",
            found=f"labels {labels[:20]}; without training rows {missing[:20]}; splits without rows {empty}",
            remedy="add rows, or set prepare.label_column and the fractions in params.yaml",
        )


def write_split(texts: pl.LazyFrame, kept: pl.DataFrame, labels: list[str], path: Path) -> None:
    """Write the texts of the kept rows, in their order, with the index of their label."""
    index = pl.col("label").replace_strict(labels, range(len(labels)), return_dtype=pl.UInt32)
    wanted = kept.lazy().select("row", label=index)
    texts.select("row", "text").join(wanted, on="row", maintain_order="left").select("text", "label").sink_parquet(
        path, row_group_size=ROWS_PER_GROUP, maintain_order=True, engine="streaming"
    )


def profile(rows: pl.DataFrame) -> dict[str, object]:
    """Rows, rows per label, and lengths in characters (quantiles) of one split."""
    per_label = dict(rows["label"].value_counts().sort("label").iter_rows())
    lengths = {f"p{q}": int(rows["characters"].quantile(q / 100, "nearest") or 0) for q in (0, 50, 90, 99, 100)}
    return {"rows": rows.height, "per_label": per_label, "characters": lengths}
