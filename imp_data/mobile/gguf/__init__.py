"""A merged model as GGUF files for llama.cpp."""
