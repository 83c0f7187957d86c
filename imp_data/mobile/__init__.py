"""Export a merged model to GGUF, compare it with PyTorch, measure it, and serve it in a chat."""
