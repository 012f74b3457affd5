"""Clean the texts, drop what cannot be learned from, and split: each row by its own text, so no other can move it.

The rows pass twice: once as they are read, into sorted runs on the disk, and once by ranges of their keys. Equal texts
have one key and so meet in one range, however far apart they were; and the order of the input decides nothing.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from .. import paths
from ..bad_rows import BadRows
from ..data_profile import check_labels, profile
from ..encodings import BYTE_ORDER_MARK
from ..errors import UserError
from ..files import new_directory, scratch_directory, write_json
from ..intake import Intake
from ..label_cells import as_column, names_in, sorted_names
from ..params import Params
from ..rows import Rejected, read_rows
from ..runs import Runs
from ..splits import decide
from ..tables import find_tables

ROWS_PER_GROUP = 50_000


@dataclass
class Kept:
    """What the second pass keeps: the files of each split in the order of their keys, and the counts."""

    parts: dict[str, list[Path]] = field(default_factory=lambda: {split: [] for split in paths.SPLITS})
    rows: Counter[str] = field(default_factory=Counter)
    per_label: dict[str, Counter[str]] = field(default_factory=lambda: {split: Counter() for split in paths.SPLITS})
    dropped: Counter[str] = field(default_factory=Counter)


def run(params: Params) -> None:
    """Write `data/processed` (a table for each split, the labels, the bad rows) and the data profile."""
    tables = find_tables(paths.RAW)
    with new_directory(paths.PROCESSED) as new, scratch_directory(paths.PROCESSED) as scratch:
        runs = Runs(scratch)
        quarantine = new / paths.QUARANTINE.name if params.prepare.on_bad_row == "quarantine" else None
        counts = read_all(tables, params, runs, quarantine)
        kept = keep(runs, params, set(tables), scratch)
        check_labels(kept.per_label, kept.rows, params.task)
        labels = sorted_names(set().union(*kept.per_label.values()))
        for split in paths.SPLITS:
            write_split(kept.parts[split], new / paths.split_table(split).name, labels, params.task)
        write_json(new / paths.LABELS.name, labels)
        splits = {
            split: profile(new / paths.split_table(split).name, kept.per_label[split], params.task)
            for split in paths.SPLITS
        }
    counts["dropped"] |= {reason: kept.dropped[reason] for reason in kept.dropped}
    write_json(paths.DATA_PROFILE, counts | splits)


def read_all(tables: dict[str, list[Path]], params: Params, runs: Runs, quarantine: Path | None) -> dict:
    """Put the rows of all tables into the runs, and the bad ones aside; the counts of the data profile."""
    intake = Intake(params)
    marked = 0
    with BadRows(quarantine) as bad:
        for table, files in sorted(tables.items()):
            found = False
            for path in files:
                for row in read_rows(path, intake.columns, intake.take):
                    found = True
                    if isinstance(row, Rejected):
                        bad.add(path, row)
                    else:
                        runs.add(table, row)
                with path.open("rb") as file:
                    marked += file.read(len(BYTE_ORDER_MARK)) == BYTE_ORDER_MARK
            if not found:
                raise no_rows(files, params, intake)
        bad.refuse()
    return {
        "read": intake.accepted + intake.dropped.total() + bad.counts.total(),
        "quarantined": dict(bad.counts),
        "mended": {"byte_order_marks": marked, **intake.all_mended()},
        "dropped": dict(intake.dropped),
    }


def no_rows(files: list[Path], params: Params, intake: Intake) -> UserError:
    """What to say of a table that gives nothing."""
    keep = params.prepare.keep
    return UserError(
        f"{files[0]} has no rows" + (f" with {keep.value!r} in the column {keep.column!r}" if keep else ""),
        expected="rows with a text and a label",
        found=", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in intake.dropped.items()),
        remedy="add rows, or set prepare.text_column, label_column and keep in params.yaml",
    )


def keep(runs: Runs, params: Params, preset: set[str], scratch: Path) -> Kept:
    """Decide over every row, range by range."""
    kept = Kept()
    for number, rows in enumerate(runs.ranges()):
        chosen, dropped = decide(rows, params.prepare, preset)
        kept.dropped.update(dropped)
        for (split,), part in chosen.partition_by("split", as_dict=True, maintain_order=True).items():
            path = scratch / f"{split}-{number}.ipc"
            part.select("text", *(["second_text"] if params.task == "pair" else []), "label").write_ipc(path)
            kept.parts[split].append(path)
            kept.rows[split] += part.height
            if params.task != "regression":
                names = part.select(names_in(pl.col("label"), params.task).alias("label")).explode("label").drop_nulls()
                kept.per_label[split].update(dict(names["label"].value_counts().iter_rows()))
    return kept


def write_split(parts: list[Path], path: Path, labels: list[str], task: str) -> None:
    """Write the rows of one split, with what their labels are in the tables."""
    pl.scan_ipc(parts).with_columns(label=as_column(pl.col("label"), labels, task)).sink_parquet(
        path, row_group_size=ROWS_PER_GROUP, maintain_order=True, engine="streaming"
    )
