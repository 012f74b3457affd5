"""Predictions on the test rows, robustness and the model card."""
