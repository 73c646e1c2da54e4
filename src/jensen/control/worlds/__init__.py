"""Worlds to act in: learned ones, read ones, and ones of goals."""
