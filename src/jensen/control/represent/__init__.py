"""What a fitted model makes of observations, as a wrapper of an environment."""
