"""Small recurrent models, moved off their starting values, and sequences for them."""

from __future__ import annotations

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen import families, models, posteriors
from jensen.core import Datum
from jensen.nets import trainable

KEY = jax.random.key(0)
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""These programs are tiny: compiling them well costs more than running them badly."""
quick = partial(jax.jit, compiler_options=QUICK)
T, DIM, ACTION = 5, 3, 2


def moved(tree: Any, seed: int, by: float = 0.4) -> Any:
    params, static = eqx.partition(tree, trainable(tree))
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda a: a + jnp.asarray(by * rng.normal(size=a.shape), a.dtype), params)
    return eqx.combine(params, static)


def neural(transition: Any = "gated") -> Any:
    made = models.NeuralStateSpace(
        DIM, 2, decoder=(6,), transition=transition, width=5, cond_dim=ACTION, key=KEY
    )
    return moved(made, 1, by=0.15)


def rssm(latent: Any = None, **more: Any) -> Any:
    latent = families.DiagGaussian(2) if latent is None else latent
    return moved(models.RSSM(DIM, ACTION, deter_dim=4, latent=latent, decoder=(6,), key=KEY, **more), 2)


def e2c(**more: Any) -> Any:
    made = models.EmbedToControl(DIM, ACTION, 2, decoder=(6,), widths=(5,), key=KEY, **more)
    return moved(made, 4, by=0.15)


MODELS = {
    "e2c": e2c,
    "neural": neural,
    "rssm": rssm,
    "rssm-categorical": lambda: rssm(families.OneHot(3, 2, unimix=0.01)),
}
FAMILIES = {
    "e2c": lambda: families.DiagGaussian(2),
    "neural": lambda: families.FullGaussian(2),
    "rssm": lambda: families.DiagGaussian(2),
    "rssm-categorical": lambda: families.OneHot(3, 2, unimix=0.01),
}
POSTERIORS = {"filtering": posteriors.Filtering, "smoothing": posteriors.Smoothing}


def posterior(name: str, family: Any, model: Any) -> Any:
    return moved(POSTERIORS[name](family, like=model, widths=(6,), key=KEY), 3)


def sequence(length: int = T, steps: int | None = None, seed: int = 0, masked: bool = False) -> Datum:
    """The same first T rows whatever the length; what is beyond ``steps`` is rubbish."""
    rng = np.random.default_rng(seed)
    x, a = rng.normal(size=(20, DIM)), rng.normal(size=(20, ACTION))
    seen = rng.random((20, DIM)) < 0.7
    if steps is not None:
        x[steps:], a[max(steps - 1, 0) :] = 1e4, -1e4
    number = lambda v: jnp.asarray(v[:length], jnp.float32)  # noqa: E731
    return Datum(
        number(x),
        number(a)[: length - 1],
        mask=jnp.asarray(seen[:length]) if masked else None,
        steps=None if steps is None else jnp.asarray(steps),
    )
