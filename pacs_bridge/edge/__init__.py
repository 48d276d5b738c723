"""The township's end of the line: what its node acknowledged goes to the county over one HTTPS connection."""
