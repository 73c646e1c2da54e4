"""models/static."""
