"""Read records from tables: Parquet, Arrow, tars of WebDataset; images stay where they are."""
