"""The network, its pretrained parts, and its saved folder."""
