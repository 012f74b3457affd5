"""Embed every text with the frozen base model, and learn from the vectors: a linear probe, and near-duplicates."""

import numpy as np
import polars as pl

from .. import paths
from ..classifier import load_base, run_over
from ..determinism import pin_model, use_deterministic_kernels
from ..files import new_directory, read_json, write_json
from ..identity import identity_of, own_directory
from ..metrics import DECIMALS, scores
from ..neighbours import near_duplicates
from ..params import Params
from ..probe import fit_probe, save_probe
from ..tasks import targets_of, values_of
from ..tokens import encode, load_tokenizer, texts_of
from ..vectors import Sequences, embed_new


def run(params: Params) -> None:
    """Write `embeddings/`, the probe with its scores, and the report on near-duplicates."""
    use_deterministic_kernels(params.compute)
    tables = {split: pl.read_parquet(paths.split_table(split)) for split in paths.SPLITS}
    vectors = embed_all(tables, params)
    with new_directory(paths.EMBEDDINGS) as new:
        for split in paths.SPLITS:
            np.save(new / paths.split_embeddings(split).name, vectors[split])
    task, labels = params.task, len(read_json(paths.LABELS))
    targets = {split: targets_of(tables[split]["label"], task, labels) for split in ("train", "validation")}
    probe = fit_probe(vectors["train"], targets["train"], params.embeddings.probe_c, task)
    with new_directory(paths.PROBE) as new:
        save_probe(probe, new)
    found = scores(task, targets["validation"], values_of(task, probe.logits(vectors["validation"])))
    write_json(paths.PROBE_REPORT, {"validation": {name: round(value, DECIMALS) for name, value in found.items()}})
    write_json(paths.NEAR_DUPLICATES, near_duplicates(vectors, params.embeddings.near_duplicate_cosine))


def embed_all(tables: dict[str, pl.DataFrame], params: Params) -> dict[str, np.ndarray]:
    """The vectors of every split, float32, rows x hidden size."""
    tokenizer = load_tokenizer(paths.BASE_MODEL / "tokenizer.json", params.text.max_length)
    sequences = encode(tokenizer, texts_of(pl.concat(tables.values())))
    identity = identity_of(sorted(paths.BASE_MODEL.iterdir()), params.model_dump(include={"task", "compute", "text"}))

    def embed(new: Sequences) -> np.ndarray:
        model = load_base(paths.BASE_MODEL, 1, params.text, params.task).to(params.compute.device)
        pin_model(model, params.compute)
        return run_over(model, new, output="vectors", bf16=params.compute.precision == "bf16")

    vectors = embed_new(sequences, own_directory(paths.VECTORS, identity), embed)
    ends = np.cumsum([table.height for table in tables.values()])[:-1]
    return dict(zip(tables, np.split(vectors, ends), strict=True))
