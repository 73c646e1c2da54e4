"""Networks and rows of the wrong size are refused in one line, before anything is fitted."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import jensen as jn
from jensen import families, gradients, models, objectives, posteriors
from jensen.core import Datum
from jensen.errors import CombinationError, InputError
from jensen.fit.enter import check_support
from jensen.nets import MLP

KEY = jax.random.key(0)


def net(into: int, out: int) -> MLP:
    return MLP(into, out, (), key=KEY)


def amortized(data_dim: int = 6, net=None):
    return posteriors.Amortized(families.DiagGaussian(2), data_dim=data_dim, widths=(), net=net, key=KEY)


def quantized(data_dim: int = 6, net=None):
    return posteriors.VectorQuantized(2, 1, data_dim=data_dim, widths=(), net=net, key=KEY)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: amortized(net=net(6, 3)), r"Amortized: net makes shape \(3,\) of 6 numbers; .* of 4"),
        (lambda: amortized(net=net(5, 4)), "Amortized: net cannot read a vector of 6 numbers: "),
        (lambda: amortized(net=lambda x: (x, x)), "Amortized: net makes tuple"),
        (lambda: quantized(net=net(6, 4)), r"VectorQuantized: net makes shape \(4,\) .* of 2"),
        (lambda: models.Decoder(6, 2, net=net(3, 6), key=KEY), "Decoder: net cannot read a vector of 2"),
        (lambda: models.Decoder(6, 2, net=net(2, 5), key=KEY), r"Decoder: net makes shape \(5,\) .* of 6"),
        (lambda: models.CategoricalNet(2, 3, 4, net=net(4, 5), key=KEY), r"CategoricalNet: .*\(5,\) .* of 6"),
        (lambda: models.HeteroscedasticNet(2, 4, net=net(4, 2), key=KEY), r"Heterosc.*\(2,\) .* of 4"),
        (
            lambda: models.HeteroscedasticNet(2, 4, net=net(4, 4), variance="shared", key=KEY),
            r"HeteroscedasticNet: .*\(4,\) .* of 2",
        ),
        (lambda: models.MixtureDensity(1, 2, 3, net=net(3, 9), key=KEY), "MixtureDensity: net cannot read"),
        (lambda: models.MixtureDensity(1, 2, 3, net=net(2, 8), key=KEY), r"MixtureDensity: .*\(8,\) .* of 9"),
        (
            lambda: models.ConditionalDecoder(6, 3, 2, net=net(3, 12), key=KEY),
            "ConditionalDecoder: net cannot read a vector of 5",
        ),
    ],
)
def test_a_network_of_another_size_is_refused_where_it_is_given(make, said):
    with pytest.raises(InputError, match=said) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_posterior_of_other_columns_than_the_model_is_refused():
    elbo, model = objectives.ELBO(), models.Decoder(6, 2, widths=(), key=KEY)
    with pytest.raises(CombinationError, match=r"Amortized reads 5 columns, Decoder has 6; .*data_dim=6"):
        jn.Inference(model, amortized(5), elbo, gradients.Reparam())
    coded = models.Decoder(6, prior=models.priors.Codebook(3, 2, 1, key=KEY), widths=(), key=KEY)
    with pytest.raises(CombinationError, match="VectorQuantized reads 5 columns, Decoder has 6"):
        jn.Inference(coded, quantized(5), elbo, gradients.StraightThrough())


def test_pictures_are_told_to_be_rows():
    model = models.Decoder(6, 2, widths=(), key=KEY)
    with pytest.raises(InputError, match=r"shape \(4, 2, 3\), .* x.reshape\(len\(x\), -1\)"):
        check_support(model, Datum(np.zeros((4, 2, 3), np.float32)))
    with pytest.raises(InputError, match="X has 3 features"):
        check_support(model, Datum(np.zeros((4, 5, 3), np.float32)))


def test_exact_names_the_partner_of_a_conjugate_prior():
    model = models.BayesianGaussianMixture(2, 3, key=KEY)
    with pytest.raises(CombinationError, match=r"use Conjugate, as fit\.em does"):
        jn.Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
