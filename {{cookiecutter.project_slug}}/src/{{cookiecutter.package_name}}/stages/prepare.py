"""Clean the texts, drop what cannot be learned from, and split: each row by its own text, so no other can move it.

The rows pass twice: once as they are read, into sorted runs on the disk, and once by ranges of their keys. Equal texts
have one key and so meet in one range, however far apart they were; and the order of the input decides nothing.
"""

from collections import Counter
from pathlib import Path

import polars as pl

from .. import paths
from ..common.io import new_directory, scratch_directory, write_json
from ..config import Params
from ..data.intake import Intake
from ..data.labels import KINDS, as_column, sorted_names
from ..data.malformed import BadRows
from ..data.profile import SplitCounts, check_learnable, check_targets
from ..data.sorting import Runs
from ..data.splits import decide
from ..errors import UserError
from ..tables.blocks import read_blocks
from ..tables.discovery import find_tables
from ..tables.encodings import BYTE_ORDER_MARK
from ..tables.raw_rows import Rejected

ROWS_PER_GROUP = 50_000


def run(params: Params) -> None:
    """Write `data/processed` (a table for each split, the labels, the bad rows) and the data profile."""
    tables = find_tables(paths.RAW)
    with (
        new_directory(paths.PROCESSED) as new,
        scratch_directory(paths.PROCESSED) as scratch,
        Runs(scratch, params.prepare.split_seed) as runs,
    ):
        quarantine = new / paths.QUARANTINE.name if params.prepare.on_bad_row == "quarantine" else None
        profile = read_all(tables, params, runs, quarantine)
        counts, dropped = divide(runs, params, set(tables), scratch)
        check_learnable(counts, params.task)
        labels = sorted_names(set().union(*(found.per_label for found in counts.values())))
        for split in paths.SPLITS:
            table = new / paths.split_table(split).name
            write_split(parts_of(split, scratch), table, labels, params.task)
            profile[split] = counts[split].profile(table)
        check_targets(profile["train"])
        write_json(new / paths.LABELS.name, labels)
    profile["dropped"] |= dropped
    write_json(paths.DATA_PROFILE, profile)


def read_all(tables: dict[str, list[Path]], params: Params, runs: Runs, quarantine: Path | None) -> dict:
    """Put the rows of all tables into the runs, and the bad ones aside; the counts of the data profile."""
    intake = Intake(params)
    marked = 0
    with BadRows(quarantine) as bad:
        for table, files in sorted(tables.items()):
            found = False
            for path in files:
                for part in read_blocks(path, intake.columns, intake.take, intake.take_all):
                    if isinstance(part, pl.DataFrame):
                        found = found or not part.is_empty()
                        runs.add_all(table, part)
                    elif isinstance(part, Rejected):
                        found = True
                        bad.add(path, part)
                    else:
                        found = True
                        runs.add(table, part)
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
        f"{files[0]} gives no rows" + (f" with {keep.value!r} in the column {keep.column!r}" if keep else ""),
        expected="rows with a text and a label",
        found=", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in intake.dropped.items()),
        fix="add rows, or set prepare.text_column, label_column and keep in params.yaml",
    )


def divide(runs: Runs, params: Params, preset: set[str], scratch: Path) -> tuple[dict[str, SplitCounts], Counter[str]]:
    """Decide over every row, range by range; what was counted of each split, and the rows dropped for each reason."""
    counts = {split: SplitCounts(params.task) for split in paths.SPLITS}
    dropped: Counter[str] = Counter(in_another_split=0, contradicting_labels=0, duplicates=0)
    columns = ["text", "second_text", "label"] if params.task == "pair" else ["text", "label"]
    for number, rows in enumerate(runs.ranges()):
        kept, reasons = decide(rows, params.prepare, preset)
        dropped.update(reasons)
        for (split,), part in kept.partition_by("split", as_dict=True, maintain_order=True).items():
            counts[split].add(part)
            part.select(columns).write_ipc(scratch / f"{split}-{number:04}.ipc")
    return counts, dropped


def parts_of(split: str, scratch: Path) -> list[Path]:
    """The files of a split, in the order of their keys."""
    return sorted(scratch.glob(f"{split}-*.ipc"))


def write_split(parts: list[Path], path: Path, labels: list[str], task: str) -> None:
    """Write the rows of one split, with what their labels are in the tables."""
    label = pl.col("label").map_batches(
        lambda batch: as_column(batch, labels, task), return_dtype=KINDS.get(task, pl.UInt32), is_elementwise=True
    )
    pl.scan_ipc(parts).with_columns(label).sink_parquet(
        path, row_group_size=ROWS_PER_GROUP, maintain_order=True, engine="streaming"
    )
