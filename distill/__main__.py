"""`python -m distill` is the command `distill`."""

from distill.cli.commands import main

main()
