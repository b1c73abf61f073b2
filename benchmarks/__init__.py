"""What a user waits for, measured beside a baseline in the same run; README.md has results. No test asserts a time."""
