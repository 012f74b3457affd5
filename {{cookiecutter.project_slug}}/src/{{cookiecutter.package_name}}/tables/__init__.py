"""Reading tables exactly: CSV, TSV, JSON Lines and Parquet."""
