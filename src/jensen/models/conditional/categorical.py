"""A network for the odds of categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import numpy as np

from jensen.core import Datum
from jensen.dist import CategoricalRow, log_prob_observed
from jensen.errors import at_least, check_key
from jensen.models import likelihoods
from jensen.models.conditional.condition import check_cond, cond_frame_of
from jensen.models.conditional.regression import AbstractRegression
from jensen.nets import MLP, Frame, net_or_mlp
from jensen.typing import PRNGKey, Scalar


class CategoricalNet(AbstractRegression):
    r"""p(y | x) = ∏_d softmax(net(x))_d[y_d]: each column of y is a code 0..K−1 (a discrete action).

    Columns are independent given x.

    Args:
        data_dim: Number D of columns of y.
        num_categories: K, the same for all columns.
        cond_dim: Number C of columns of x.
        widths: Hidden widths of the perceptron.
        net: Any equinox module from x, standardized, to D·K logits, instead of it.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a dimension is not positive or K < 2.

    Example:
        >>> import jax
        >>> net = CategoricalNet(1, 4, 2, widths=(8,), key=jax.random.key(0))
        >>> net.law(jax.numpy.ones(2)).mean.shape
        (1, 4)
    """

    net: Any
    likelihood_family: likelihoods.Categorical
    cond_frame: Frame
    data_dim: int
    cond_dim: int
    initialized: bool

    def __init__(
        self,
        data_dim: int,
        num_categories: int,
        cond_dim: int,
        *,
        widths: Sequence[int] = (64, 64),
        net: Any = None,
        key: PRNGKey,
    ):
        check_key(key)
        at_least("CategoricalNet", 1, data_dim=data_dim, cond_dim=cond_dim)
        self.likelihood_family = likelihoods.Categorical(data_dim, num_categories)
        out = self.likelihood_family.num_params
        self.net = net_or_mlp("CategoricalNet", net, cond_dim, out, widths, key=key)
        self.cond_frame = Frame.identity(cond_dim)
        self.data_dim = data_dim
        self.cond_dim = cond_dim
        self.initialized = False

    @property
    def num_categories(self) -> int:
        """K."""
        return self.likelihood_family.num_classes

    def law(self, cond: Any) -> CategoricalRow:
        """Return p(y | x)."""
        return self.likelihood_family(self.net(self.entered(cond)))

    def log_evidence(self, datum: Datum) -> Scalar:
        """Return log p(y | x) over the observed entries, in nats."""
        return log_prob_observed(self.law(datum.cond), datum.x, datum.mask)

    def check_data(self, rows: Datum) -> None:
        """Refuse conditions of another shape, and anything but the codes 0..K−1."""
        check_cond(self, rows)
        self.likelihood_family.check(np.asarray(rows.x), rows.mask)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> CategoricalNet:
        """Standardize x, and start at the log-frequencies; a net of the user's own keeps its bias."""
        _, bias = self.likelihood_family.start(np.asarray(rows.x), rows.mask, rows.weight)
        model = eqx.tree_at(lambda m: (m.cond_frame, m.initialized), self, (cond_frame_of(rows), True))
        if isinstance(self.net, MLP):
            model = eqx.tree_at(lambda m: m.net.layers[-1].bias, model, bias)
        return model
