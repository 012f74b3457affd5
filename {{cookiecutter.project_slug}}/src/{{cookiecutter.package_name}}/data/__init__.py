"""From rows of a table to splits: labels, malformed rows, sorting, splits, profile."""
