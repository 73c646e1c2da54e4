"""Pure functions on arrays, importable alone: no jensen class enters or leaves."""
