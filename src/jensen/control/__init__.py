"""Uses of fitted models for control. No members yet."""
