"""Public contract checks for a user's own members. None yet."""
