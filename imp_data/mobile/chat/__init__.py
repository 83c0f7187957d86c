"""ImpChat: a page on loopback over llama.cpp's server, with the OpenAI protocol on one port."""
