"""What both tasks share. Imports neither of them."""
