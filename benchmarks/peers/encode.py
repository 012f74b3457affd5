"""Embed the texts of a Parquet table with sentence-transformers, as its documentation shows.

    python encode.py MODEL TABLE OUT.npy --batch-size 32 --max-length 128
    python encode.py MODEL TABLE --find      which batch size is fastest

The clock starts when everything is imported: reading, loading the model, tokenizing, embedding and writing count.
"""

import argparse

import numpy as np
import polars as pl
from clock import Clock
from sentence_transformers import SentenceTransformer

SIZES = (8, 16, 32, 64, 128)


def main() -> None:
    """Write the vectors, or tell the best batch size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("table")
    parser.add_argument("out", nargs="?")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--max-length", type=int, required=True)
    parser.add_argument("--find", action="store_true")
    arguments = parser.parse_args()
    clock = Clock()
    texts = pl.read_parquet(arguments.table)["text"].to_list()
    model = SentenceTransformer(arguments.model, device="cpu")
    model.max_seq_length = arguments.max_length
    if arguments.find:
        model.encode(texts[:64])
        found = {}
        for size in SIZES:
            one = Clock()
            model.encode(texts, batch_size=size)
            found[size] = one.seconds()
        clock.tell(best=min(found, key=lambda size: found[size]), by_size=found)
        return
    vectors = model.encode(texts, batch_size=arguments.batch_size, convert_to_numpy=True)
    np.save(arguments.out, vectors)
    clock.tell()


if __name__ == "__main__":
    main()
