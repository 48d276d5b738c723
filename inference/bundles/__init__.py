"""The engine for any bundle dropped in: it does what the bundle declares, and nothing that it does not."""
