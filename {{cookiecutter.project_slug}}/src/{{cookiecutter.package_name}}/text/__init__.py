"""Texts: cleaned, tokenized, and their token ids on disk."""
