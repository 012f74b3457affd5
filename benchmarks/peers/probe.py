"""Learn a logistic regression from the vectors of the training rows, and measure it on the test rows.

    python probe.py VECTORS.npy TRAIN.parquet TEST.parquet

The vectors are those of the training rows and then of the test rows.
"""

import sys

import numpy as np
import polars as pl
from clock import Clock
from sklearn.linear_model import LogisticRegression


def main() -> None:
    """Tell the accuracy."""
    vectors, train, test = sys.argv[1:]
    clock = Clock()
    found = np.load(vectors)
    labels, held = (pl.read_parquet(path)["label"].to_numpy() for path in (train, test))
    model = LogisticRegression(max_iter=2000).fit(found[: len(labels)], labels)
    accuracy = model.score(found[len(labels) :], held)
    clock.tell(accuracy=float(accuracy))


if __name__ == "__main__":
    main()
