"""Where `fetch` takes files from, and the one form of a base model."""
