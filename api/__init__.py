"""The web rooms: pages for staff and patients, and the same as JSON."""
