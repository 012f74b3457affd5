"""The token ids of all splits, written once and memory-mapped, because they may not fit into memory."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from polars import selectors as cs

from .. import paths
from ..common import distributed
from ..common.fingerprint import cache_directory, fingerprint, reading
from ..common.io import new_directory, read_json, write_json
from ..config import TextSettings
from .tokenization import encode_with_coverage, load_tokenizer, texts_of

IDS, BOUNDS, COUNTS = "ids.int32", "bounds.npy", "counts.json"
TEXTS = ("text", "second_text")
ROWS_AT_ONCE = 4096


class Ragged:
    """Rows of different lengths in one flat array: row n is `values[bounds[n]:bounds[n + 1]]`. `cut`: the rows cut."""

    def __init__(self, values: np.ndarray, bounds: np.ndarray, cut: int) -> None:
        self.values = values
        self.bounds = bounds
        self.cut = cut

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        start, end = self.bounds[row], self.bounds[row + 1]
        return self.values[start:end]

    def lengths(self) -> np.ndarray:
        """The length of every row."""
        return np.diff(self.bounds)


def token_ids(settings: TextSettings) -> dict[str, Ragged]:
    """The token ids of each split's rows, and of all in their order as "all". Rank 0 writes what does not exist yet."""
    tokenizer = paths.BASE_MODEL / "tokenizer.json"
    tables = [paths.split_table(split) for split in paths.SPLITS]
    name = fingerprint(Path(__file__), [tokenizer, *tables], settings.model_dump(include={"max_length", "prefix"}))
    name = distributed.broadcast(name)
    with distributed.rank_0_first():
        directory = cache_directory(paths.TOKENS, name)
        if not all((directory / file).exists() for file in (IDS, BOUNDS, COUNTS)):
            write_token_ids(tables, tokenizer, settings, directory)
    with reading(directory):
        ids, bounds = np.memmap(directory / IDS, dtype=np.int32, mode="r").view(np.ndarray), np.load(directory / BOUNDS)
        counts = read_json(directory / COUNTS)
        if len(ids) != bounds[-1]:
            raise ValueError(f"{len(ids)} token ids instead of {bounds[-1]}")
    ends = [0, *np.cumsum([counts[split]["rows"] for split in paths.SPLITS])]
    spans = zip(paths.SPLITS, pairwise(ends), strict=True)
    found = {split: Ragged(ids, bounds[start : end + 1], counts[split]["cut"]) for split, (start, end) in spans}
    return found | {"all": Ragged(ids, bounds, sum(one["cut"] for one in counts.values()))}


def write_token_ids(tables: list[Path], tokenizer: Path, settings: TextSettings, directory: Path) -> None:
    """Tokenize the texts of the tables a few rows at a time, and write their ids."""
    loaded = load_tokenizer(tokenizer, settings.max_length)
    lengths: list[np.ndarray] = []
    counts = {}
    with new_directory(directory) as new:
        with (new / IDS).open("wb") as file:
            for table in tables:
                texts = pl.scan_parquet(table).select(cs.by_name(*TEXTS, require_all=False))
                rows = texts.select(pl.len()).collect().item()
                counts[table.stem] = {"rows": rows, "cut": 0}
                for start in range(0, rows, ROWS_AT_ONCE):
                    some = texts_of(texts.slice(start, ROWS_AT_ONCE).collect())
                    ids, coverage = encode_with_coverage(loaded, some, settings.prefix)
                    counts[table.stem]["cut"] += sum(one.truncated for one in coverage)
                    sequences = [np.array(one, dtype=np.int32) for one in ids]
                    file.write(np.concatenate(sequences).tobytes())
                    lengths.append(np.array([len(one) for one in sequences]))
        np.save(new / BOUNDS, np.concatenate([[0], np.cumsum(np.concatenate(lengths))]))
        write_json(new / COUNTS, counts)
