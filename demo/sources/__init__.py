"""Each upstream source at one-thousandth scale, in its own file format."""
