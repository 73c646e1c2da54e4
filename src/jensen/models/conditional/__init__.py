"""models/conditional."""
