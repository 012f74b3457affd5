"""How fast is the exported model beside torch and beside the export of optimum-onnx?

    python benchmarks/onnx_speed.py build/review-sentiment

Four contenders with the same weights: torch eager, our ONNX fp32 and int8 opened as `predict` opens them, and the graph
that optimum-onnx exports, opened with onnxruntime's defaults. Each is a process of its own; they take turns, round by
round, on the same tokens of real test rows and with as many threads as there are cores. A ratio is taken within each
round, so that a change of the machine's load hits both sides.

optimum-onnx needs an older transformers: it gets an environment of its own in build/optimum, once. It exports the
encoder; pooling and the head are added to its graph here, so that all contenders do the same work.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from environments import PACKAGES
from machine import machine

TORCH, FP32, INT8, OPTIMUM = "torch eager", "ONNX fp32", "ONNX int8", "optimum-onnx"
RATIOS = ((FP32, TORCH), (INT8, TORCH), (INT8, FP32), (FP32, OPTIMUM))
EXPORT = """
import sys
from optimum.exporters.onnx import main_export
main_export(sys.argv[1], sys.argv[2], task="feature-extraction", library_name="transformers",
            opset=int(sys.argv[3]), do_validation=False)
"""
TAIL = """
<ir_version: 8, opset_import: ["": 18]>
tail (float[batch, sequence, hidden] tokens, int64[batch, sequence] mask) => (float[batch, labels] logits) {
    real = Cast <to = 1> (mask)
    weights = Unsqueeze (real, last_axis)
    weighted = Mul (tokens, weights)
    total = ReduceSum <keepdims = 0> (weighted, sequence_axis)
    count = ReduceSum <keepdims = 0> (weights, sequence_axis)
    vector = Div (total, count)
    logits = Gemm <transB = 1> (vector, head_weight, head_bias)
}
"""


def main() -> int:
    """Print the table; 0 when the contenders in float32 agree on every label."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="a grown project in which the pipeline ran")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--texts", type=int, default=100, help="one by one, in each round")
    parser.add_argument("--batches", type=int, default=8, help="of 32 texts, in each round")
    parser.add_argument("--optimum", type=Path, default=Path("build/optimum"), help="its environment (%(default)s)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return work(arguments.worker, arguments.texts, arguments.batches)
    project = arguments.project.resolve()
    python = optimum_environment(arguments.optimum)
    with tempfile.TemporaryDirectory() as folder:
        graph = export_with_optimum(python, project, Path(folder))
        names = {TORCH: "torch", FP32: "fp32", INT8: "int8", OPTIMUM: str(graph)}
        size = ["--texts", str(arguments.texts), "--batches", str(arguments.batches)]
        workers = {name: start(project, [*size, "--worker", worker]) for name, worker in names.items()}
        labels = {name: ask(worker) for name, worker in workers.items()}
        rounds = [take_turns(workers, backwards=bool(number % 2)) for number in range(arguments.rounds + 1)][1:]
        for worker in workers.values():
            worker.communicate()
    print_machine(python)
    print(f"{arguments.rounds} rounds of {arguments.texts} texts one by one and {arguments.batches} batches of 32\n")
    print_table(rounds)
    print()
    for name, found in labels.items():
        others = sum(a != b for a, b in zip(found, labels[TORCH], strict=True))
        print(f"{name:<14} labels unlike torch: {others} of {len(found)}")
    return 0 if labels[FP32] == labels[OPTIMUM] == labels[TORCH] else 1


def optimum_environment(folder: Path) -> Path:
    """The Python of an environment that holds optimum-onnx; it is made when it is not there."""
    python = folder.resolve() / "bin/python"
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES["optimum"]], check=True)
        (folder / "installed").touch()
    return python


def export_with_optimum(python: Path, project: Path, folder: Path) -> Path:
    """Export the fine-tuned encoder with optimum-onnx, and put mean pooling and the head behind it."""
    import onnx
    from safetensors.numpy import load_file

    head = load_file(project / "models/fine_tuned/2_Dense/model.safetensors")
    manifest = json.loads((project / "models/onnx/manifest.json").read_text(encoding="utf-8"))
    command = [python, "-c", EXPORT, project / "models/fine_tuned", folder / "exported", str(manifest["opset"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"optimum-onnx failed\n{done.stderr}")
    graph = onnx.load(folder / "exported/model.onnx")
    tail = onnx.parser.parse_model(TAIL)
    constants = {"last_axis": np.array([2]), "sequence_axis": np.array([1])}
    constants |= {"head_weight": head["linear.weight"], "head_bias": head["linear.bias"]}
    tail.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    tail = onnx.compose.add_prefix(tail, "tail/", rename_outputs=False)
    tail.ir_version = graph.ir_version
    tail.opset_import[0].version = next(opset.version for opset in graph.opset_import if not opset.domain)
    output = graph.graph.output[0].name
    whole = onnx.compose.merge_models(graph, tail, [(output, "tail/tokens")])
    for node in whole.graph.node:
        for place, name in enumerate(node.input):
            if name == "tail/mask":
                node.input[place] = "attention_mask"
    whole.graph.input.remove(next(value for value in whole.graph.input if value.name == "tail/mask"))
    onnx.save(whole, folder / "whole.onnx")
    return folder / "whole.onnx"


def start(project: Path, arguments: list[str]) -> subprocess.Popen[str]:
    """A contender, waiting for its turns."""
    return subprocess.Popen(
        [sys.executable, Path(__file__).resolve(), project, *arguments],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(project / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(worker: subprocess.Popen[str]) -> Any:
    """Give a contender its turn; its answer."""
    assert worker.stdin
    assert worker.stdout
    worker.stdin.write("go\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        sys.exit("a contender failed; its message stands above")
    return json.loads(answer)


def take_turns(workers: dict[str, subprocess.Popen[str]], *, backwards: bool) -> dict[str, dict[str, float]]:
    """One round: every contender once, alone, in this order or backwards."""
    found = {}
    for name in sorted(workers, key=list(workers).index, reverse=backwards):
        time.sleep(0.3)  # threads of the one before wait in a loop for a while
        found[name] = ask(workers[name])
    return {name: found[name] for name in workers}


def work(contender: str, texts: int, batches: int) -> int:
    """Be a contender: first the labels, then one line of figures for every line that is read."""
    package = next(path.name for path in Path("src").iterdir() if (path / "__main__.py").exists())
    single, many = tokens_of(package, texts, batches)
    run = opened(contender, package)
    labels = [int(label) for batch in (*single, *many) for label in run(*batch).argmax(axis=1)]
    for number, _ in enumerate(sys.stdin):
        answer = labels if number == 0 else figures(run, single, many)
        print(json.dumps(answer), flush=True)
    return 0


def tokens_of(package: str, texts: int, batches: int) -> tuple[list, list]:
    """Token ids and masks of test rows, as they come: one by one, and in padded batches of 32."""
    import importlib

    import polars as pl

    tokens = importlib.import_module(f"{package}.text.tokenization")
    manifest = json.loads(Path("models/onnx/manifest.json").read_text(encoding="utf-8"))
    tokenizer = tokens.load_tokenizer(Path("models/onnx/tokenizer.json"), manifest["max_length"])
    texts_of_test = pl.read_parquet("data/processed/test.parquet")["text"].to_list()
    rows = tokens.encode(tokenizer, texts_of_test, manifest["prefix"])
    if len(rows) < max(texts, 32 * batches):
        sys.exit(f"{len(rows)} test rows are too few: lower --texts or --batches")
    groups = [rows[start : start + 32] for start in range(0, 32 * batches, 32)]
    single = [tokens.pad([row], len(row)) for row in rows[:texts]]
    return single, [tokens.pad(group, max(map(len, group))) for group in groups]


def opened(contender: str, package: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """From token ids and mask to logits."""
    import importlib

    if contender == "torch":
        return opened_in_torch(package)
    import onnxruntime

    inference = importlib.import_module(f"{package}.inference.classifier")
    if contender in inference.MODELS:
        session = inference.open_session(Path("models/onnx") / inference.MODELS[contender])
    else:
        session = onnxruntime.InferenceSession(contender, providers=["CPUExecutionProvider"])
    names = {value.name for value in session.get_inputs()}

    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return session.run(["logits"], {name: given[name] for name in names})[0]

    return run


def opened_in_torch(package: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The fine-tuned model in torch, as many threads as cores."""
    import importlib

    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    params = importlib.import_module(f"{package}.config").load_params()
    fine_tuned = importlib.import_module(f"{package}.modeling.fine_tuned")
    model = fine_tuned.load_fine_tuned(Path("models/fine_tuned"), params.text.pooling, params.task)

    @torch.inference_mode()
    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()

    return run


def figures(run: Callable, single: list, many: list) -> dict[str, float]:
    """Milliseconds for one text (p50, p95), and texts per second in batches of 32."""
    times = []
    for batch in single:
        begin = time.perf_counter()
        run(*batch)
        times.append(1000 * (time.perf_counter() - begin))
    begin = time.perf_counter()
    for batch in many:
        run(*batch)
    seconds = time.perf_counter() - begin
    p50, p95 = np.quantile(times, [0.5, 0.95])
    return {"p50": float(p50), "p95": float(p95), "texts/s": sum(len(ids) for ids, _ in many) / seconds}


def print_machine(python: Path) -> None:
    """What this was measured on and with."""
    code = "from importlib.metadata import version as v; print(*(v(n) for n in ('optimum-onnx', 'transformers')))"
    theirs = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    print(f"{machine('torch', 'transformers', 'onnxruntime')}; optimum-onnx {theirs[0]} with transformers {theirs[1]}")


def print_table(rounds: list[dict[str, dict[str, float]]]) -> None:
    """Medians over the rounds, then ratios of speed: median, smallest and largest."""
    measures = ("p50", "p95", "texts/s")
    print(f"{'':<28} {'p50, ms':>20} {'p95, ms':>20} {'texts/s, batch 32':>20}")
    for name in rounds[0]:
        cells = [statistics.median(turn[name][measure] for turn in rounds) for measure in measures]
        print(f"{name:<28} {cells[0]:>20.2f} {cells[1]:>20.2f} {cells[2]:>20.0f}")
    for faster, slower in RATIOS:
        cells = []
        for measure in measures:
            ratios = [turn[faster][measure] / turn[slower][measure] for turn in rounds]
            ratios = ratios if measure == "texts/s" else [1 / ratio for ratio in ratios]
            cells.append(f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]")
        print(f"{f'{faster} / {slower}':<28} {cells[0]:>20} {cells[1]:>20} {cells[2]:>20}")


if __name__ == "__main__":
    sys.exit(main())
