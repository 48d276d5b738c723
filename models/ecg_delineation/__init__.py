"""openecg's delineation network as Sumu runs it: the same weights in a graph that does half of the work."""
