"""A mixture as others take it: Parquet files with the images in them."""
