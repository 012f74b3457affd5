"""Find the tables below a directory and the split of each, by the names that Hugging Face's datasets uses.

The split is a word in the file's name (`sst2_train.csv`, `dev.csv`) or a folder's (`default/train/0000.parquet`).
https://huggingface.co/docs/datasets/repository_structure
"""

import logging
import re
import shlex
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from ..common.io import sha256_of
from ..config import Additions
from ..errors import UserError
from .files import READ, how_to_read, plain_name
from .rows import listed

ADDITIONS = "additions"  # the name of the table of prepare.additions
# What systems and editors leave in folders; .gitignore and .dvcignore hold the same list.
LITTER = (
    *(".DS_Store", "._*", ".~lock.*#", "*.sw[op]", "*~", "~$*", "Thumbs.db", "desktop.ini"),
    *("__MACOSX", ".ipynb_checkpoints"),
)
# Files about a data set, which lie beside its tables.
_ABOUT = ("config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
_KEYWORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
_SHARD = re.compile(r"(?<=.)-(?P<number>\d{5})-of-(?P<count>\d{5})(?:-\w+)?\Z")


def find_tables(directory: Path) -> dict[str, list[Path]]:
    """The files of each split, or of one table under the name `all` if the pipeline is to split it.

    Several files are one table if they are shards, as in `train-00000-of-00003.parquet`, if their names differ only in
    numbers, or if their folder names the split.
    """
    tables, others = _files_in(directory)
    by_split: dict[str, list[Path]] = {}
    for path in tables:
        by_split.setdefault(_split_of(path.relative_to(directory)) or "all", []).append(path)
    alone = len({_form_of(path, directory) for path in tables}) == 1
    if alone and not any(_stem(path).lower() in _KEYWORDS or path.parent != directory for path in tables):
        by_split = {"train" if "train" in by_split else "all": tables}  # the only table, whatever word is in its name
    to_be_split = alone and "all" in by_split
    if not to_be_split and ("train" not in by_split or "all" in by_split):
        raise _not_clear(directory, by_split, others)
    for files in by_split.values():
        _require_one_table(files, directory)
    if others:
        logging.getLogger(__name__).warning("%s: not read: %s", directory, _names(others, directory))
    return by_split


def additional_table(additions: Additions | None) -> dict[str, list[Path]]:
    """The table of additional training rows, if there is one. Raises UserError unless it is the one in params.yaml."""
    if additions is None:
        return {}
    path = Path(additions.file)
    found = sha256_of(path) if path.is_file() else "no such file"
    if found != additions.sha256:
        old = f"dvc {'checkout --force' if path.exists() else 'pull'} {shlex.quote(additions.file)}"
        fix = f"set prepare.additions.sha256 in params.yaml to that of the new file, or take the old one: {old}"
        problem = f"{path} is not the table that prepare.additions names"
        raise UserError(problem, expected=f"sha256 {additions.sha256}", found=found, fix=fix)
    return {ADDITIONS: [path]}


def _files_in(directory: Path) -> tuple[list[Path], list[Path]]:
    """The tables and the other files in a directory, both sorted and without litter."""
    tables, others = [], []
    for path in sorted(directory.rglob("*")):
        parts = path.relative_to(directory).parts
        if any(fnmatchcase(part, form) for part in parts for form in LITTER):
            continue
        if path.is_dir() and not path.is_symlink() and any(path.iterdir()):
            continue
        hidden = any(part.startswith((".", "__")) for part in parts)
        is_table = plain_name(path).suffix.lower() in READ and path.name not in _ABOUT
        if is_table or not hidden:
            (others if hidden or not is_table else tables).append(path)
    return tables, others


def _stem(path: Path) -> str:
    """The name without its endings and its shard number."""
    return _SHARD.sub("", plain_name(path).stem)


def _split_of(path: Path) -> str | None:
    """The split that the file's name contains, or else the nearest folder whose name contains one."""
    for name in (_stem(path), *reversed(path.parts[:-1])):
        splits = {_KEYWORDS.get(word) for word in re.split(r"[\W\d_]+", name.lower())} - {None}
        if len(splits) == 1:
            return splits.pop()
    return None


def _form_of(path: Path, directory: Path) -> tuple[str, ...]:
    """What the files of one table have in common: the folder, and the name apart from its endings and numbers."""
    folder = path.parent.relative_to(directory)
    named_by_folder = _split_of(Path(path.name)) is None and _split_of(folder / "x") is not None
    return str(folder), "" if named_by_folder else re.sub(r"\d+", "#", _stem(path)).lower()


def _require_one_table(files: list[Path], directory: Path) -> None:
    """Refuse files that are not one table: different forms of names, or missing or surplus shards."""
    forms = [_form_of(path, directory) for path in files]
    alike = {plain_name(path).stem.lower(): path for path, form in zip(files, forms, strict=True) if form == forms[0]}
    found = {path: _SHARD.search(plain_name(path).stem) for path in alike.values()}
    shards = {(int(shard["number"]), int(shard["count"])): path for path, shard in found.items() if shard}
    count = min((count for _, count in shards), default=0)
    kept = [shards.get((number, count)) for number in range(count)] or [*found]
    if {*kept} != {*files}:
        rest = [path for path in files if path not in kept] if all(kept) else []
        raise UserError(
            f"the files of one table in {directory} do not belong together",
            expected="one file, or all its shards: 00000-of-00003, 00001-of-00003, 00002-of-00003",
            found=_names(files, directory),
            fix=f"take out what is too much: {_moved_out(rest, files, directory)}" if rest else "fetch what is missing",
        )


def _not_clear(directory: Path, by_split: dict[str, list[Path]], others: list[Path]) -> UserError:
    tables = [path for files in by_split.values() for path in files]
    if len(tables) == 1:  # of rows to hold out
        table = directory / ("table" + tables[0].name.removeprefix(plain_name(tables[0]).stem))
        fix = f"put train.* beside it; or, if there is no more to split: {shlex.join(map(str, ('mv', *tables, table)))}"
    elif tables:
        out = _moved_out(by_split["all"] if "train" in by_split else tables[1:], tables, directory)
        fix = f"name them so (test rows: test.*), or take out what is none of them: {out} (then: dvc add {directory})"
    else:
        put = f"put the tables there (then: dvc add {directory})"
        ways = filter(None, (how_to_read(path, directory) for path in others))
        fix = min(ways, key=lambda way: way.startswith("if a line"), default=put)
    left = f"; not read: {_names(others, directory)}" if others else ""
    return UserError(
        f"cannot tell the tables in {directory}",
        expected="one table, or train.* and, if you have them, validation.* and test.*"
        f" ({', '.join(READ)}, also compressed); shards as in train-00000-of-00003.parquet",
        found=(_names(tables, directory) if tables else "no table") + left,
        fix=fix,
    )


def _names(files: Iterable[Path], directory: Path) -> str:
    return listed([path.relative_to(directory).as_posix() for path in files])


def _moved_out(some: list[Path], tables: list[Path], directory: Path) -> str:
    """The command that moves some tables out, each under its own name; folders without other tables move whole."""
    kept = {part for path in tables if path not in some for part in (path, *path.parents)}
    parts = dict.fromkeys(next(part for part in (*reversed(path.parents), path) if part not in kept) for path in some)
    top = [part for part in parts if part.parent == directory]
    names = {part: "__".join(part.relative_to(directory).parts) for part in parts if part not in top}
    moves = [["mv", str(part), f"./{name}"] for part, name in names.items()]
    return " && ".join(map(shlex.join, ([["mv", *map(str, top), "."]] if top else []) + moves))
