"""The ``sumu`` command: puts the rooms together, starts and stops the processes."""
