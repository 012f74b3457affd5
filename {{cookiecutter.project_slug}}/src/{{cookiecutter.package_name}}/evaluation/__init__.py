"""Metrics, predictions and robustness on the test rows, and the model card."""
