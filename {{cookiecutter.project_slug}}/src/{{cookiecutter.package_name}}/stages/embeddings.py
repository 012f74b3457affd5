"""Embed every text with the frozen base model; from the vectors, train a linear probe and find near-duplicates."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch

from .. import paths
from ..common import distributed
from ..common.determinism import hardware, use_deterministic_kernels
from ..common.fingerprint import cache_directory, fingerprint
from ..common.io import new_directory, read_json, write_json
from ..common.tasks import targets_of
from ..config import Params
from ..kernels import accelerate
from ..modeling.classifier import load_base
from ..modeling.forward import batcher_for, run_batches
from ..modeling.probe import Labelled, choose_probe, save_probe
from ..modeling.vectors import Embedded, copy_rows, embed_new, near_duplicates
from ..text.token_store import token_ids
from ..text.tokenization import Sequences


def run(params: Params) -> None:
    """Write `embeddings/`, the probe with its scores, and the report on near-duplicates and cut texts."""
    use_deterministic_kernels(params.compute)
    device = distributed.join(params.compute)
    ids = token_ids(params.text)
    kept = kept_vectors(params)
    index = embed_new(ids["all"], kept, partial(embed, params, device))
    if not distributed.on_rank_0():
        return
    with new_directory(paths.EMBEDDINGS) as new:
        ends = np.cumsum([len(ids[split]) for split in paths.SPLITS])
        for split, rows in zip(paths.SPLITS, np.split(index, ends[:-1]), strict=True):
            copy_rows(kept, rows, new / paths.split_embeddings(split).name)
    learn(params)
    files = {split: paths.split_embeddings(split) for split in paths.SPLITS}
    found = near_duplicates(files, params.embeddings.near_duplicate_cosine)
    write_json(paths.NEAR_DUPLICATES, found | {"cut_texts": {split: ids[split].cut for split in paths.SPLITS}})
    if cut := ids["all"].cut:
        print(f"{cut} of {len(index)} texts were cut: the model reads their beginning", file=sys.stderr)


def kept_vectors(params: Params) -> Path:
    """The cache directory for the vectors of this model, these parameters and this code."""
    settings = params.model_dump(include={"task", "compute", "text"}) | {"hardware": hardware(params.compute)}
    key = distributed.broadcast(fingerprint(Path(__file__), paths.BASE_FILES, settings))  # machines may differ
    with distributed.rank_0_first():
        return cache_directory(paths.VECTORS, key)


def embed(params: Params, device: torch.device, sequences: Sequences) -> Embedded:
    """The vectors of this rank's part of the texts, batch by batch."""
    model = load_base(paths.BASE_MODEL, 1, params.text, params.task).to(device)
    # Before the cast: in bfloat16, packed texts would not have nearly the states that they have alone.
    batcher = batcher_for(model, params.compute, params.text.max_length)
    if params.compute.precision == "bf16":
        model.to(torch.bfloat16)
    accelerate(model, params.compute, training=False)
    return run_batches(batcher, sequences, output="vectors")


def learn(params: Params) -> None:
    """Write the probe with the lowest loss on the validation rows, and the scores of every candidate."""
    task, label_count = params.task, len(read_json(paths.LABELS))

    def rows_of(split: str) -> Labelled:
        column = pl.read_parquet(paths.split_table(split), columns=["label"])["label"]
        return np.load(paths.split_embeddings(split), mmap_mode="r"), targets_of(column, task, label_count)

    probe, report = choose_probe(rows_of("train"), rows_of("validation"), params.embeddings.probe_c, task)
    with new_directory(paths.PROBE) as new:
        save_probe(probe, report["c"], new)
    write_json(paths.PROBE_REPORT, report)
