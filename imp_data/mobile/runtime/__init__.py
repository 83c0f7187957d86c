"""llama.cpp, in this process or as a server of its own."""
