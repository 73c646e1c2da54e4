"""jensen in `conv.py` and `conv_race.py`: what ``jensen fit vae --net conv`` makes, and a cheaper net."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from conv import BATCH, COLOURS, LATENT, RATE, SIDE, STEPS, TRAIN, held_out_bound, pictures
from harness import Run

import jensen as jn
from jensen import families, fit, gradients, models, nets, objectives, posteriors

CHANNELS = {4: (64, 128, 256), 8: (128, 256)}
"""By the side of a patch; patches of 4 are what the command makes."""


def inference(key: jax.Array, patch: int = 4) -> jn.Inference:
    """Return the four choices, the first layer of patches of so many pixels."""
    to_model, to_posterior = jax.random.split(key)
    shape, columns = (SIDE, SIDE, COLOURS), SIDE * SIDE * COLOURS
    sizes: dict[str, Any] = {"channels": CHANNELS[patch], "patch": patch}
    decoder = nets.ConvDecoder(LATENT, shape, key=to_model, **sizes)
    encoder = nets.ConvEncoder(shape, 2 * LATENT, key=to_posterior, **sizes)
    model = models.Decoder(columns, LATENT, likelihood="bernoulli", net=decoder, key=to_model)
    q = posteriors.Amortized(
        families.DiagGaussian(LATENT), data_dim=columns, net=encoder.quiet(), key=to_posterior
    )
    return jn.Inference(model, q, objectives.ELBO(), gradients.Reparam())


def steps(patch: str = "4") -> Run:
    """Set up a fit of few steps."""
    return _run(pictures(640), None, STEPS, int(patch))


def race(number: str, patch: str = "4") -> Run:
    """Set up a fit of so many steps, scored on held-out rows."""
    x = pictures()
    return _run(x[:TRAIN], x[TRAIN:], int(number), int(patch))


def _run(x: np.ndarray, held: np.ndarray | None, number: int, patch: int) -> Run:
    adam = optax.adam(RATE)

    def run() -> Callable[[], dict[str, float]]:
        key = jax.random.key(0)
        fitted = fit.gradient(
            inference(key, patch), x, key=key, optimizer=adam, steps=number, batch_size=BATCH
        )
        return lambda: _quality(fitted, held)

    return run


def _quality(fitted: fit.Fitted, held: np.ndarray | None) -> dict[str, float]:
    own = fitted.inference
    leaves = jax.tree.leaves(jax.tree.map(np.size, (own.model.net, own.posterior.net)))
    if held is None:
        return {"bound of the last batch": float(fitted.history.bound[-1]), "weights": float(sum(leaves))}

    def encode(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        q = jax.vmap(lambda row: own.posterior.family(own.posterior.net(own.posterior.frame.enter(row))))(
            rows
        )
        return np.asarray(q.loc), np.log(np.asarray(q.scale))

    return {"held-out bound": held_out_bound(encode, jax.vmap(own.model.net), held)}
