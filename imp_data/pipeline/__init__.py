"""The stages of a build, their order, and what each depends on."""
