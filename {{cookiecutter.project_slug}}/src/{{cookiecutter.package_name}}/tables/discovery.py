"""Find the tables that users have: one, or one for each split, each in one file or in shards."""

import re
from pathlib import Path

from .. import paths
from ..errors import UserError
from .rows import FORMATS

_SHARD = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})")


def find_tables(directory: Path) -> dict[str, list[Path]]:
    """The files of each split, or of one table under the name `all` where the pipeline is to split it.

    A table may lie in shards, as in `train-00000-of-00003.parquet`; they are given in order.
    """
    found = sorted(path for path in directory.glob("*") if path.suffix.lower() in FORMATS)
    by_name: dict[str, list[Path]] = {}
    for path in found:
        shard = _SHARD.fullmatch(path.stem)
        by_name.setdefault((shard["name"] if shard else path.stem).lower(), []).append(path)
    for files in by_name.values():
        _require_all_shards(files, directory)
    if "train" in by_name and by_name.keys() <= set(paths.SPLITS):
        return by_name
    if len(by_name) == 1 and not by_name.keys() & {"validation", "test"}:
        return {"all": next(iter(by_name.values()))}
    raise UserError(
        f"cannot tell the tables in {directory}",
        expected="one table, or train.* and, if you have them, validation.* and test.*"
        f" ({', '.join(FORMATS)}); shards as in train-00000-of-00003.parquet",
        found=", ".join(path.name for path in found) or "no table",
        fix=f"put the tables there (then: dvc add {directory}) and remove what is none of them",
    )


def _require_all_shards(files: list[Path], directory: Path) -> None:
    """Refuse two files for one table, unless they are its shards and all are there."""
    shards = [_SHARD.fullmatch(path.stem) for path in files]
    counts = {int(shard["count"]) if shard else 1 for shard in shards}
    numbers = [int(shard["number"]) if shard else 0 for shard in shards]
    if len(counts) > 1 or numbers != list(range(max(counts))):
        raise UserError(
            f"the files of one table in {directory} do not belong together",
            expected="one file, or all its shards: 00000-of-00003, 00001-of-00003, 00002-of-00003",
            found=", ".join(path.name for path in files),
            fix="fetch what is missing, remove what is too much",
        )
