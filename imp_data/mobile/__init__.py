"""From a merged model to the phone: GGUF files, proof that they answer alike, what they cost."""
