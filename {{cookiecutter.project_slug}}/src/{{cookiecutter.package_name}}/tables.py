"""Read the tables that users have: CSV, TSV, JSON Lines or Parquet, one file or one for each split."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from . import paths
from .errors import UserError
from .params import Prepare

_READERS = {
    ".csv": lambda path: pl.scan_csv(path, infer_schema=False),
    ".tsv": lambda path: pl.scan_csv(path, infer_schema=False, separator="\t"),
    ".jsonl": lambda path: pl.scan_ndjson(path, infer_schema_length=None),
    ".ndjson": lambda path: pl.scan_ndjson(path, infer_schema_length=None),
    ".parquet": pl.scan_parquet,
}


def find_tables(directory: Path) -> dict[str, Path]:
    """The tables of a directory by split, or one table under the name `all` where the pipeline is to split it."""
    found = sorted(path for path in directory.glob("*") if path.suffix.lower() in _READERS)
    by_name = {path.stem.lower(): path for path in found}
    if len(found) == len(by_name) and "train" in by_name and by_name.keys() <= set(paths.SPLITS):
        return by_name
    if len(found) == 1 and not by_name.keys() & {"validation", "test"}:
        return {"all": found[0]}
    raise UserError(
        f"cannot tell the tables in {directory}",
        expected="one table, or train.* and, if you have them, validation.* and test.*"
        f" ({', '.join(sorted(_READERS))})",
        found=", ".join(path.name for path in found) or "no table",
        remedy=f"put the tables there (then: dvc add {directory}) and remove what is none of them",
    )


def scan(path: Path, columns: Prepare) -> pl.LazyFrame:
    """The rows of a table as the columns `text` and `label`, both strings, null where the table has no value."""
    table = _READERS[path.suffix.lower()](path)
    keep = columns.keep
    with readable(path):
        names = table.collect_schema().names()
    wanted = {"text_column": columns.text_column, "label_column": columns.label_column}
    if keep is not None:
        wanted["keep.column"] = keep.column
        table = table.filter(pl.col(keep.column).cast(pl.String) == keep.value)
    for key, name in wanted.items():
        if name not in names:
            raise UserError(
                f"{path} has no column {name!r}",
                expected=f"the column that prepare.{key} names",
                found=f"the columns {', '.join(names)}",
                remedy=f"set prepare.{key} in params.yaml",
            )
    return table.select(
        text=pl.col(columns.text_column).cast(pl.String), label=pl.col(columns.label_column).cast(pl.String)
    )


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what polars says of an unreadable table into a UserError that names the file."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        raise UserError(
            f"{path} cannot be read",
            expected="a table in UTF-8 with one header, of the format that its name says",
            found=str(error).splitlines()[0],
            remedy="mend the file and run again",
        ) from None
