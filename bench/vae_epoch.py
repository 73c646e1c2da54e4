"""One epoch of a variational auto-encoder: jensen, a hand-written scan, torch, pythae, Pyro, NumPyro.

Everyone fits 784-512-40-512-784, relu, Bernoulli likelihood, diagonal Gaussian q, standard normal prior, to
the same 20,000 rows of static binarized MNIST by Adam(1e-3) on batches of 100 drawn without replacement, one
draw of z per row, float32. A run trains from a fresh start for EPOCHS epochs; seconds are per epoch. The ELBO
reached is scored on the training rows, one fresh draw of z each, by the same numpy code for everyone.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from harness import Benchmark, Setup, main

N, DATA, HIDDEN, LATENT, BATCH, EPOCHS, RATE = 20_000, 784, 512, 40, 100, 10, 1e-3


class Weights(NamedTuple):
    """Matrices (in, out) and biases: q's hidden layer and heads, the decoder's hidden layer and output."""

    hidden: tuple[np.ndarray, np.ndarray]
    mean: tuple[np.ndarray, np.ndarray]
    log_var: tuple[np.ndarray, np.ndarray]
    expand: tuple[np.ndarray, np.ndarray]
    logits: tuple[np.ndarray, np.ndarray]


def images() -> np.ndarray:
    """The first 20,000 training rows, 0 or 1, float32."""
    root = os.environ.get("JENSEN_DATA")
    if root is None:
        raise SystemExit("set JENSEN_DATA to the folder that holds binarized_mnist/binarized_mnist.npz")
    with np.load(Path(root) / "binarized_mnist" / "binarized_mnist.npz", allow_pickle=False) as file:
        packed = file["train"][:N]
    return np.unpackbits(packed, axis=1)[:, :DATA].astype(np.float32)


def elbo(weights: Weights, x: np.ndarray) -> float:
    """Mean ELBO in nats per row, sampled likelihood and closed-form KL, in float64."""
    w = Weights(*(tuple(np.asarray(v, np.float64) for v in pair) for pair in weights))
    h = np.maximum(x @ w.hidden[0] + w.hidden[1], 0)
    mean, log_var = h @ w.mean[0] + w.mean[1], h @ w.log_var[0] + w.log_var[1]
    z = mean + np.exp(0.5 * log_var) * np.random.default_rng(1).normal(size=mean.shape)
    logits = np.maximum(z @ w.expand[0] + w.expand[1], 0) @ w.logits[0] + w.logits[1]
    log_likelihood = np.sum(x * logits - np.logaddexp(0, logits), axis=1)
    kl = 0.5 * np.sum(mean**2 + np.exp(log_var) - log_var - 1, axis=1)
    return float(np.mean(log_likelihood - kl))


def _peer(module: str, function: str) -> Setup:
    """Import a contestant only in the process that runs it."""
    return lambda: getattr(importlib.import_module(module), function)()


SETUPS = {
    "jensen": _peer("vae_jensen", "fit_gradient"),
    "jax scan by hand": _peer("vae_jax", "scan"),
    "torch": _peer("vae_torch", "plain"),
    "torch, fused Adam": _peer("vae_torch", "fused"),
    "torch, fused and compiled": _peer("vae_torch", "compiled"),
    "pythae": _peer("vae_torch", "pythae"),
    "pyro Trace_ELBO": _peer("vae_torch", "pyro_sampled"),
    "pyro TraceMeanField_ELBO": _peer("vae_torch", "pyro_mean_field"),
    "numpyro svi.update": _peer("vae_jax", "numpyro_stepwise"),
    "numpyro scanned": _peer("vae_jax", "numpyro_scan"),
}

if __name__ == "__main__":
    net = f"{DATA}-{HIDDEN}-{LATENT}, relu"
    settings = {"rows": N, "net": net, "batch": BATCH, "Adam": RATE, "epochs per run": EPOCHS}
    main(Benchmark("vae_epoch", SETUPS, per=EPOCHS, unit="s per epoch", settings=settings), __file__)
