"""Run the command as `python -m imp_data`, as torchrun does."""

from imp_data.cli import main

main()
