"""Playing: episodes from environments one by one, in copies or in vectors."""
