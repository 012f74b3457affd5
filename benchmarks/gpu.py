"""Check the CUDA path of a grown project on one NVIDIA card, and measure it beside the Trainer of transformers.

    python benchmarks/gpu.py build/gpu/review-sentiment

The project must hold a table in data/raw and models/base/tokenizer.json: `make gpu-check` grows one and fetches them.
The encoders are BERT with random weights. The packages that this Python has are used as they are, and named. After the
minutes that are given, whatever still runs is stopped and reported as not measured. Writes results/gpu.json and its
section of RESULTS.md; ends with 1 when a check fails.
"""

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from gpu_checks import checks
from gpu_projects import ON_CARD, ON_CPU, Bench
from gpu_section import put_section
from gpu_speed import prepared_tables, speeds
from pairs import HERE, RESULTS


def main() -> int:
    """0 when every check passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=lambda name: Path(name).resolve())
    parser.add_argument("--minutes", type=float, default=8.0, help="default: %(default)s")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: try this program, tiny")
    parser.add_argument("--results", type=Path, default=HERE, help="the folder of RESULTS.md and of results/")
    arguments = parser.parse_args()
    settings = ON_CARD if arguments.device == "cuda" else ON_CPU
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        bench = Bench(arguments.project, Path(folder), settings, arguments.minutes)
        card = json.loads(bench.command([sys.executable, str(HERE / "gpu_card.py"), settings.device], bench.bare))
        print(json.dumps(card, indent=1), flush=True)
        small = bench.encoder(settings.small)
        with ThreadPoolExecutor(1) as pool:
            tables = pool.submit(prepared_tables, bench)
            encoders = pool.submit(lambda: {shape: bench.encoder(shape) for shape in settings.large})
            found = [asdict(check) for check in checks(bench, small)]
        measured, left_out = speeds(bench, tables.result(), encoders.result(), card["peak"])
    minutes = round((time.monotonic() - start) / 60, 1)
    record = {"card": card, "minutes": minutes, "checks": found, "speeds": measured, "left_out": left_out}
    path = arguments.results / RESULTS.name / "gpu.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    put_section(arguments.results / "RESULTS.md", record)
    failed = [check["what"] for check in found if not check["passed"]]
    print(f"{len(found) - len(failed)} of {len(found)} checks passed; {minutes} minutes; see {path}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
