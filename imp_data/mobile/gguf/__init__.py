"""Export a merged model to GGUF files for llama.cpp."""
