"""Orders: placed by every door in one way, and fulfilled by the images that come for them."""
