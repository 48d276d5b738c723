"""Every instance is examined before anything else parses it: bounded, without recursion, in a process that may die."""
