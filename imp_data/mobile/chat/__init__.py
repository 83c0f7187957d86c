"""ImpChat: a chat page and the OpenAI protocol on one port, in front of llama.cpp's server."""
