"""Character sets: what a device declares, what its bytes are, and how to put right what is wrong without losing a byte."""
