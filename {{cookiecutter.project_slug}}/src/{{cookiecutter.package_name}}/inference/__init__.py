"""The shipped model without torch or transformers."""
