"""models/priors."""
