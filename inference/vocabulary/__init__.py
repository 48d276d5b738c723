"""What findings, measurements and reasons are called: data files that a doctor can review, and their reader."""
