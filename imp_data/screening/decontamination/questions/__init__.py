"""Questions and answers of benchmarks, and the records that repeat them."""
