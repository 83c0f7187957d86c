"""From a merged model to the phone: llama.cpp files, their parity, their latency, a chat."""
