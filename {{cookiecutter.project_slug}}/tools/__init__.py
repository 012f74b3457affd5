"""What serves the project beyond its pipeline: `python -m tools.NAME`, or by `make`. Nothing in src imports it."""
