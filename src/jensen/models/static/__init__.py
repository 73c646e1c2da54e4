"""Models of single rows."""

from jensen.models.static.decoder import Decoder

__all__ = ["Decoder"]
