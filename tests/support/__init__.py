"""What the tests that act on a real platform share."""
