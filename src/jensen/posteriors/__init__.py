"""posteriors."""
