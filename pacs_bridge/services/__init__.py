"""What the node answers beside C-STORE: search, fetch, worklist, performed steps, storage commitment."""
