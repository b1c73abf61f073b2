"""DACON 235851: two photos of one plant → days elapsed between them."""
