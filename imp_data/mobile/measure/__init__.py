"""What an export costs: parity with PyTorch, quality, latency."""
