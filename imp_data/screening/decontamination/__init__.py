"""Benchmark images, and how well the matcher finds altered copies of them."""
