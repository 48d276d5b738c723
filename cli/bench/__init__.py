"""Measures speed against peers on the same machine, in the same run: ratios travel, seconds do not."""
