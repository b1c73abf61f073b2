"""What a user waits for, measured beside a baseline in the same run. Nothing here is asserted in tests."""
