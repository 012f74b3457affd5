"""Run stages of a grown project in one process, which loads torch once.

python benchmarks/stages.py review_sentiment embeddings fine_tune
"""

import importlib
import sys

package, *stages = sys.argv[1:]
start = importlib.import_module(f"{package}.__main__")
for stage in stages:
    sys.argv[1:] = [stage]
    if code := start.main():
        sys.exit(code)
