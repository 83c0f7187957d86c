"""`python -m imp_data`, by which torchrun launches the command."""

from imp_data.cli import main

main()
