"""Clean the texts, drop rows that cannot be learned from, and split: each row by its text, so no other row moves it.

The rows are sorted by a key that depends only on their text. So equal texts meet, however far apart they were, and the
order of the input changes nothing.
"""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from .. import paths
from ..common.io import new_directory, write_json
from ..config import Params
from ..data.labels import KINDS, as_column, renamed, sorted_names
from ..data.profile import SplitCounts, check_groups, check_learnable, check_targets, few_test_rows, warnings
from ..data.rows import MalformedRows, RowParser, unlabelled
from ..data.splits import Row, SortedRows, drop_repeats, rule_of, with_split
from ..tables import MalformedRow, read_rows
from ..tables.discovery import ADDITIONS, additional_table, find_tables
from ..tables.files import has_byte_order_mark
from ..tables.rows import MissingColumnError

ROWS_PER_GROUP = 50_000
HELD_OUT = ("validation", "test")


def run(params: Params) -> None:
    """Write `data/processed` (a table for each split, the labels, the malformed rows) and the data profile."""
    tables = find_tables(paths.RAW) | additional_table(params.prepare.additions)
    own = [split for split in HELD_OUT if split in tables]
    with new_directory(paths.PROCESSED) as new:
        (scratch := new / "scratch").mkdir()
        rows = SortedRows(scratch, params.prepare.split_seed)
        quarantine = new / paths.QUARANTINE.name if params.prepare.malformed_rows == "quarantine" else Path(os.devnull)
        parser = RowParser(params)
        profile = read_all(tables, params, parser, rows, quarantine)
        counts, dropped, about = assign_splits(rows, params, parser, set(tables), scratch)
        check_learnable(counts, params, own, dropped)
        labels = sorted_names(set().union(*(found.per_label for found in counts.values())))
        names = renamed(labels, params.prepare.label_names)
        for split in paths.SPLITS:
            table = new / paths.split_table(split).name
            parts = sorted(scratch.glob(f"{split}-*.ipc"))
            write_split(parts, table, labels, params.task, params.prepare.keep_columns)
            profile[split] = counts[split].profile(table, dict(zip(labels, names, strict=True)))
        check_targets(profile, own)
        write_json(new / paths.LABELS.name, names)
        shutil.rmtree(scratch)
    profile["dropped"] |= dropped
    if few := few_test_rows(profile):
        profile["few_test_rows"] = few
    for warning in warnings(profile, params):
        print(warning, file=sys.stderr)
    write_json(paths.DATA_PROFILE, profile | about)


def read_all(
    tables: dict[str, list[Path]], params: Params, parser: RowParser, rows: SortedRows, quarantine: Path
) -> dict:
    """Add the rows of all tables to `rows`; keep malformed ones apart. Returns the counts for the data profile."""
    marked = 0
    with quarantine.open("w", encoding="utf-8", newline="\n") as file:
        malformed = MalformedRows(file)
        # Tables that have labels are read first.
        for table in (name for name in ("all", *paths.SPLITS, ADDITIONS) if name in tables):
            files = tables[table]
            before, seen = parser.accepted + malformed.counts.total(), parser.labelled.copy()
            try:
                rows.add(table, (row for path in files for row in well_formed(path, table, parser, malformed)))
            except MissingColumnError as error:
                if table in HELD_OUT and error.column.name == params.prepare.label_column:
                    raise unlabelled(table, files, params, f"no column {error.column.name!r}") from None
                raise
            if table in HELD_OUT and parser.labelled[True] == seen[True] and parser.labelled[False] > seen[False]:
                raise unlabelled(table, files, params, "no label in any row")
            if parser.accepted + malformed.counts.total() == before and table != ADDITIONS:
                raise parser.no_rows(files[0])
            marked += sum(has_byte_order_mark(path) for path in files)
    if params.prepare.malformed_rows == "fail" or not parser.accepted:
        malformed.refuse(parser.accepted)
    parser.check_times()
    return {
        "read": parser.accepted + parser.dropped.total() + malformed.counts.total(),
        "quarantined": dict(malformed.counts),
        "repaired": {"byte_order_marks": marked, **parser.repaired},
        "dropped": dict(parser.dropped),
    }


def well_formed(path: Path, table: str, parser: RowParser, malformed: MalformedRows) -> Iterator[Row]:
    """The clean rows of one file of a table; malformed rows go to `malformed`."""
    columns, parse = parser.reader_of(table)
    for row in read_rows(path, columns, parse):
        if isinstance(row, MalformedRow):
            malformed.add(path, row, columns)
        else:
            yield row


def assign_splits(
    rows: SortedRows, params: Params, parser: RowParser, preset: set[str], scratch: Path
) -> tuple[dict[str, SplitCounts], Counter[str], dict[str, Any]]:
    """Write the kept rows of each range to scratch/SPLIT-NUMBER.ipc; return counts by split, drops, groups or times."""
    grouped = params.prepare.group_column is not None
    counts = {split: SplitCounts(params.task, grouped=grouped) for split in paths.SPLITS}
    dropped: Counter[str] = Counter(in_another_split=0, contradicting_labels=0, duplicates=0)
    rule, several = rule_of(params.prepare, preset, rows), 0
    added = Counter(read=0, rows=0)
    optional = {"second_text": params.task == "pair", "kept": bool(params.prepare.keep_columns), "group": grouped}
    columns = [name for name in ("text", "second_text", "label", "kept", "group") if optional.get(name, True)]
    for number, part in enumerate(rows.ranges()):
        added["read"] += int(part.filter(pl.col("table") == ADDITIONS)["rows"].sum())
        kept, reasons = drop_repeats(part, rule)
        dropped.update(reasons)
        several += int((kept["position"] != kept["last_position"]).sum())
        added["rows"] += int((kept["table"] == ADDITIONS).sum())
        for (split,), found in with_split(kept, rule).partition_by("split", as_dict=True, maintain_order=True).items():
            counts[split].add(found)
            found.with_columns(group="position").select(columns).write_ipc(scratch / f"{split}-{number:06}.ipc")
    about: dict[str, Any] = {}
    if grouped:
        check_groups(counts)
        about["groups"] = {"rows_without_group": parser.without_group, "texts_in_several_groups": several}
    if params.prepare.time_column:
        about["first_times"] = {split: parser.time_at(end) for split, end in rule.ends().items()}
    if params.prepare.additions:
        about["additions"] = dict(added)
    return counts, dropped, about


def write_split(parts: list[Path], path: Path, labels: list[str], task: str, keep_columns: list[str]) -> None:
    """Write the rows of one split, with labels in the form that the tables use, and the kept columns as a struct."""
    label = pl.col("label").map_batches(
        lambda batch: as_column(batch, labels, task), return_dtype=KINDS.get(task, pl.UInt32), is_elementwise=True
    )
    rows = pl.scan_ipc(parts, glob=False).with_columns(label)
    if keep_columns:
        rows = rows.with_columns(pl.col("kept").str.json_decode(pl.Struct(dict.fromkeys(keep_columns, pl.String))))
    rows.sink_parquet(path, row_group_size=ROWS_PER_GROUP, maintain_order=True, engine="streaming")
