"""The whole pipeline beside the same steps written with sentence-transformers, the Trainer and optimum-onnx.

    python benchmarks/whole.py build/review-sentiment
    python benchmarks/whole.py build/review-sentiment --rows 600

Ours is `dvc repro` in a new clone with an empty cache. The peer is five scripts, one after the other: pandas cleans
and splits, sentence-transformers embeds, scikit-learn learns a probe, the Trainer fine-tunes by its defaults (three
epochs in batches of 8) with dynamic padding, optimum-onnx exports, quantizes and measures. Ours trains for one epoch,
so the time the peer would have taken had it stopped after its first is reported too. Whole commands, imports inside
both clocks; everything is installed and was read before. Ours also looks for near-duplicates, compares the exports with
torch on every validation row, bootstraps intervals and writes the model's card.
"""

import hashlib
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import polars as pl
from environments import python_of, versions
from machine import machine
from pairs import (
    THREADS,
    Measure,
    Watch,
    environment,
    interleaved,
    item,
    keep,
    medians,
    parser,
    peers_model,
    ratios,
    run_peer,
)
from ruamel.yaml import YAML


def main() -> None:
    """Run both interleaved."""
    made = parser(__doc__, pairs=1)
    made.add_argument("--rows", type=int, help="of the sample; default: all")
    made.add_argument("--batch-size", type=int, default=32, help="of sentence-transformers; default: %(default)s")
    arguments = made.parse_args()
    with item("whole") as folder:
        watch = Watch()
        values = YAML().load((arguments.project / "params.yaml").read_text(encoding="utf-8"))
        table = fewer(arguments.project, values, folder / "raw", arguments.rows)
        sides = {
            "ours": lambda: ours(arguments.project, values, table, folder / "ours"),
            "peer": lambda: theirs(table, values["prepare"]["keep"], arguments.batch_size, folder / "theirs"),
        }
        rounds = interleaved(sides, arguments.pairs)
        last = rounds[-1]
        keep(
            "whole",
            peer="pandas, sentence-transformers, the Trainer by its defaults, optimum-onnx",
            compared=f"{pl.read_csv(table, infer_schema=False).height} rows of raw data; warm, whole commands: ours"
            f" {medians(rounds, 'ours'):.0f} s, peer {medians(rounds, 'peer'):.0f} s; accuracy on its own test rows:"
            f" ours {in_words(last['ours']['accuracy'])}; peer {in_words(last['peer']['accuracy'])}",
            measures=[
                Measure("times as fast", ratios(rounds, "peer", "ours"), at_least=2),
                Measure("had the Trainer stopped after one epoch", ratios(rounds, "peer", "ours", "one_epoch")),
            ],
            costs=last["ours"]["parts"] | {f"peer's {name}": value for name, value in last["peer"]["parts"].items()},
            machine=f"{machine('dvc', 'torch', 'transformers', 'onnxruntime')},"
            f" {versions('peers', 'sentence-transformers', 'pandas')}, {versions('optimum', 'optimum-onnx')}",
            watch=watch,
        )


def fewer(project: Path, values: dict, folder: Path, rows: int | None) -> Path:
    """The raw table with at most so many rows of those that are kept."""
    source = next((project / "data/raw").glob("*.csv"))
    table = pl.read_csv(source, infer_schema=False)
    if rows is not None:
        kept = values["prepare"]["keep"]
        table = table.filter(pl.col(kept["column"]) == kept["value"]) if kept else table
        table = table.sample(min(rows, table.height), shuffle=True, seed=0)
    folder.mkdir()
    table.write_csv(folder / source.name)
    return folder / source.name


def ours(project: Path, values: dict, table: Path, folder: Path) -> dict[str, Any]:
    """Run the pipeline from nothing, with one epoch; the seconds of all and of each stage."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", project, folder], check=True)
    (folder / "dvc.lock").unlink(missing_ok=True)
    values["fetch"]["data"]["uri"] = str(table.parent)
    values["fetch"]["data"]["sha256"] = {table.name: hashlib.sha256(table.read_bytes()).hexdigest()}
    values["compute"]["threads"] = THREADS
    values["fine_tune"]["epochs"] = 1
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(values, file)
    apart = {f"DVC_{kind}_DIR": str(folder / f".dvc/tmp/{kind}") for kind in ("SITE_CACHE", "GLOBAL_CONFIG")}
    variables = environment(folder) | apart | {"PYTHONUNBUFFERED": "1"}
    start = time.perf_counter()
    run = subprocess.Popen(
        ["dvc", "repro"], cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert run.stdout
    parts, said, stage, since = {}, [], "", start
    for line in run.stdout:
        said.append(line)
        if line.startswith("Running stage '"):
            parts[stage] = time.perf_counter() - since
            stage, since = line.split("'")[1], time.perf_counter()
    if run.wait():
        raise SystemExit("".join(said))
    parts[stage] = time.perf_counter() - since
    seconds = time.perf_counter() - start
    metrics = json.loads((folder / "reports/metrics.json").read_text(encoding="utf-8"))
    accuracy = {name: found["accuracy"] for name, found in metrics.items() if isinstance(found, dict)}
    parts = {name: value for name, value in parts.items() if name}
    return {"seconds": seconds, "one_epoch": seconds, "parts": parts, "accuracy": accuracy}


def theirs(table: Path, kept: dict | None, batch_size: int, folder: Path) -> dict[str, Any]:
    """Run the five scripts."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    peers, optimum, model = python_of("peers"), python_of("optimum"), peers_model()
    tables = {split: folder / f"{split}.parquet" for split in ("train", "validation", "test")}
    accuracy, parts, start = {}, {}, time.perf_counter()

    def step(name: str, python: Path, script: str, *arguments: object) -> dict[str, Any]:
        since = time.perf_counter()
        found = run_peer(python, script, *arguments)
        parts[name] = time.perf_counter() - since
        return found

    step("clean", peers, "clean.py", table, folder, *(["--keep", kept["column"], kept["value"]] if kept else []))
    both = folder / "both.parquet"
    pl.concat(pl.read_parquet(tables[split]) for split in ("train", "test")).write_parquet(both)
    given = ("--batch-size", batch_size, "--max-length", 128)
    step("encode", peers, "encode.py", model, both, folder / "vectors.npy", *given)
    found = step("probe", peers, "probe.py", folder / "vectors.npy", tables["train"], tables["test"])
    accuracy["probe"] = found["accuracy"]
    epochs = step("train", peers, "train.py", model, tables["train"], tables["validation"], folder / "tuned")["epochs"]
    pl.read_parquet(tables["test"]).write_ndjson(folder / "test.jsonl")
    found = step("export", optimum, "export.py", folder / "tuned", folder / "test.jsonl", folder / "onnx")
    accuracy |= found["accuracy"]
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "one_epoch": seconds - epochs[-1] + epochs[0], "parts": parts, "accuracy": accuracy}


def in_words(accuracy: dict[str, float]) -> str:
    """The accuracies in words."""
    return ", ".join(f"{name} {value:.3f}" for name, value in accuracy.items())


if __name__ == "__main__":
    main()
