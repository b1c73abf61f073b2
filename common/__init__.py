"""The code that both tasks share; it imports neither of them."""
