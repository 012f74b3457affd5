"""Faster CPU kernels behind one entry."""
