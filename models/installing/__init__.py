"""How a bundle from outside comes in: unpacked with care, tried in a process that may die, kept in the models' folder."""
