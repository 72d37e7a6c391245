"""Data in: from an API, page by page, to typed Parquet with a profile."""
