"""Lets ``python -m cli`` be the ``sumu`` command."""

from cli.command import main

main()
