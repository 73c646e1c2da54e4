"""Every model of sequences filters, smooths and forecasts, or says in one line what to do instead."""

from __future__ import annotations

import inspect

import jax
import numpy as np
import pytest

from jensen import fit, gradients, models, objectives, posteriors, use
from jensen.core import HasExactPosterior, HasMarkovLatents, HasRecurrence, Inference
from jensen.errors import InputError

from . import registry

MODELS = registry.MODELS | registry.MORE_MODELS
T, NUM = 2, 4
DATA = fit.Data(np.tile(np.array(registry.SEQUENCE.x), (3, 1, 1)), lengths=[2, 1, 0])


@pytest.fixture(autouse=True, scope="module")
def _quick_compile():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def inferences(name: str) -> dict[str, Inference]:
    model = MODELS[name]()
    if isinstance(model, HasExactPosterior):
        return {"Exact": Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())}
    discrete = "OneHot" in name
    family = registry.FAMILIES["OneHot" if discrete else "DiagGaussian"]()
    gradient = gradients.StraightThrough() if discrete else gradients.Reparam()
    return {
        kind: Inference(model, registry.POSTERIORS[kind](family), objectives.ELBO(), gradient)
        for kind in ("Filtering", "Smoothing")
    }


def test_all_models_of_sequences_are_here():
    kinds = {name: getattr(models, name) for name in models.__all__ if inspect.isclass(getattr(models, name))}
    stepwise = {name for name, kind in kinds.items() if issubclass(kind, HasRecurrence | HasMarkovLatents)}
    assert stepwise == {name.partition("(")[0] for name in registry.SEQUENTIAL}


@pytest.mark.parametrize("name", sorted(registry.SEQUENTIAL))
def test_each_answers_or_says_what_to_do(name: str):
    own = inferences(name)
    asked = {
        "Exact": (use.filter, use.smooth),
        "Filtering": (use.filter,),
        "Smoothing": (use.filter, use.smooth),
    }
    for kind, inference in own.items():
        for ask in asked[kind]:
            got = ask(inference, DATA, num_samples=NUM)
            shape = got.mean.shape
            assert shape[:2] == (3, T) and got.signal.shape == got.signal_std.shape == (3, T, registry.DIM)
            real = np.arange(T) < np.asarray(DATA.lengths)[:, None]
            assert (np.isfinite(got.mean) == real[..., None]).all() and np.isfinite(got.signal[real]).all()
            assert got.std is None or (got.std.shape == shape and (got.std[real] >= 0).all())
            if got.std is None:
                np.testing.assert_allclose(got.mean[real].sum(-1), 1, rtol=1e-5)
    if "Filtering" in own:
        with pytest.raises(InputError, match=r"fit posteriors\.Smoothing"):
            use.smooth(own["Filtering"], DATA)
    ahead = use.forecast(next(iter(own.values())), DATA.take(np.arange(2)), horizon=2, num_samples=NUM)
    assert ahead.mean.shape == (2, 2, registry.DIM) and (ahead.lower <= ahead.upper).all()
