"""What a user waits for, measured beside a baseline in the same run; results in README.md. No test asserts a time."""
