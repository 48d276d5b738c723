"""Reading in processes of their own: what a decoder or a network does to its process happens to no other."""
