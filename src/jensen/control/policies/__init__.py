"""Policies: by fitted models, tables or chance, in one environment or several at once."""
