"""The model: encoder, pooling, head, losses; the linear probe, the embedding cache and near-duplicates."""
