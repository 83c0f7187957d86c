"""Training of a vision-language model on a mixture; needs the extra `train`."""
