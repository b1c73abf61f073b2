"""DACON 235851, and photos of one's own: two photos of one plant → days elapsed between them."""
