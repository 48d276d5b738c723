"""Is a recording fit to be read: numbers of its leads, a small ensemble of trees, and the data it learned from."""
