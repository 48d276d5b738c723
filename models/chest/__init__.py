"""The chest radiograph network: what it learns from, how it is trained, measured and exported."""
