"""The network, its pretrained parts, and the folder it is saved to."""
