"""What was experienced, kept: episodes in memory, mapped from a folder, as data for models and back."""
