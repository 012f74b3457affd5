"""Where `fetch` gets files from, and the one form of a base model."""
