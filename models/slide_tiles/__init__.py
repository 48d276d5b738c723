"""Technical quality of a slide's tiles: sharp tissue, blurred tissue or background."""
