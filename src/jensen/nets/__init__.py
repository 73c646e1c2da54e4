"""Networks on one example, built on equinox, and numbers that are not trained."""

from jensen.nets.check import checked_net, net_or_mlp
from jensen.nets.conv import ConvDecoder, ConvEncoder
from jensen.nets.fixed import Fixed, Frame, column_means, trainable
from jensen.nets.masked import Conditioner, Masked
from jensen.nets.mlp import MLP, StartsAt, glorot
from jensen.nets.recurrent import GRU, Bidirectional, Merge

__all__ = [
    "GRU",
    "MLP",
    "Bidirectional",
    "Conditioner",
    "ConvDecoder",
    "ConvEncoder",
    "Fixed",
    "Frame",
    "Masked",
    "Merge",
    "StartsAt",
    "checked_net",
    "column_means",
    "glorot",
    "net_or_mlp",
    "trainable",
]
