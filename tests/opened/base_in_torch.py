"""Open the base model with sentence-transformers, and compare its vectors of the test rows with those of `embeddings`.

The folder of the base model, as it was got, is the argument.
"""

import sys

import numpy as np
import polars as pl
import torch
from sentence_transformers import SentenceTransformer

torch.set_num_threads(2)
model = SentenceTransformer(sys.argv[1], device="cpu")
model.max_seq_length = 128
theirs = model.encode(pl.read_parquet("data/processed/test.parquet")["text"].to_list())
ours = np.load("embeddings/test.npy")
norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
print(f"least cosine {((ours * theirs).sum(axis=1) / norms).min():.7f}")
