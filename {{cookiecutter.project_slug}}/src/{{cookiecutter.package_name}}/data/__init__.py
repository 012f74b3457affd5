"""From rows of a table to splits: clean rows, labels, sorting, splits, profile."""
