"""Tools beyond the pipeline: run them by `make`, or with `python -m tools.NAME`. Nothing in src imports them."""
