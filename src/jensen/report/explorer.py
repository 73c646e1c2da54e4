"""What the page needs to decode a chosen z by itself: the network's weights, or a precomputed grid."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.models import Decoder, GaussianMixture, likelihoods, priors
from jensen.nets import MLP
from jensen.report.collect import LatentSpace, View, decoded, settle

ACTIVATIONS = {
    jnp.tanh: "tanh",
    jax.nn.tanh: "tanh",
    jax.nn.relu: "relu",
    jax.nn.gelu: "gelu",
    jax.nn.silu: "silu",
    jax.nn.swish: "silu",
    jax.nn.softplus: "softplus",
    jax.nn.sigmoid: "sigmoid",
    jax.nn.elu: "elu",
    jax.nn.leaky_relu: "leaky_relu",
}
BYTES_AS_FLOAT32 = 2_000_000  # after base64 a third more; the whole page must stay below 5 MB
BYTES_AS_FLOAT16 = 2_400_000
SLIDERS = 12
EXAMPLES = 16
GRID = 13
REACH = 3.0


def explorer(model: Any, view: View, *, kl: np.ndarray | None = None) -> dict[str, Any] | None:
    """Describe a decoder for the page.

    Args:
        model: The fitted model.
        view: Its latent space, data and posterior means.
        kl: KL per latent dimension in nats, to order the sliders by; the variance of the posterior means
            orders them otherwise.

    Returns:
        A JSON-ready description with ``net`` (layers, output) or ``grid``, or ``None`` for a model without
        latents that a page can decode.
    """
    space = view.space
    layered = isinstance(model, Decoder) and isinstance(model.prior, priors.AbstractHierarchy)
    if space is None or layered:
        return None  # one coordinate of a layer says nothing while those above and below it stand still
    order, use = _order(space, view, kl)
    decoder = _network(model, space) or _grid(model, space, order)
    if decoder is None:
        return None
    spec: dict[str, Any] = {
        "kind": space.kind,
        "dim": space.dim,
        "blocks": space.blocks,
        "center": space.center.tolist(),
        "scale": space.scale.tolist(),
        "reach": REACH,
        "order": order,
        "use": use,
        "sliders": SLIDERS,
        **decoder,
    }
    return {**spec, **_frame(view, model)}


def _order(space: LatentSpace, view: View, kl: np.ndarray | None) -> tuple[list[int], dict[str, Any] | None]:
    """Order dimensions by how much they are used, and say by what."""
    if kl is not None and len(kl) == space.dim:
        use, unit = np.asarray(kl, np.float64), "nats"
    elif view.means is not None and view.means.shape[1] == space.dim and space.kind == "continuous":
        use, unit = view.means.var(0), "variance of means"
    else:
        return list(range(space.dim)), None
    order = np.argsort(-use) if space.kind == "continuous" else np.arange(space.dim)
    return order.tolist(), {"values": [round(float(u), 4) for u in use], "unit": unit}


def _frame(view: View, model: Any) -> dict[str, Any]:
    """Describe how a decoded row is shown, with some rows of data to start from."""
    low, high = view.value_range
    frame: dict[str, Any] = {"low": low, "high": high, "shape": None, "columns": None, "examples": None}
    data = view.data
    if data is None:
        return frame
    frame["shape"] = None if data.image_shape is None else list(data.image_shape)
    frame["columns"] = list(data.columns) if data.image_shape is None else None
    if data.image_shape is None:
        frame["ranges"] = _ranges(data.x)
    if view.means is not None and view.space is not None and view.means.shape[1] == view.space.dim:
        rows = np.linspace(0, len(data.x) - 1, min(EXAMPLES, len(data.x))).astype(int)
        labels = [""] * len(rows) if data.labels is None else [str(data.labels[i]) for i in rows]
        frame["examples"] = {
            "rows": rows.tolist(),
            "labels": labels,
            "z": packed(settle(view.space, view.means[rows])),
            "x": packed(data.x[rows]),
        }
    return frame


def _ranges(x: np.ndarray) -> list[list[float]]:
    """Return the smallest and largest value seen in each column; 0 and 1 where none was."""
    seen = [column[np.isfinite(column)] for column in np.asarray(x, np.float64).T]
    return [[float(v.min()), float(v.max())] if v.size else [0.0, 1.0] for v in seen]


def _network(model: Any, space: LatentSpace) -> dict[str, Any] | None:
    """Return layers whose product is the decoder, exactly."""
    if isinstance(model, GaussianMixture):
        return _layers([(model.means.T, None)], "identity", {"name": "identity"})
    if space.kind == "discrete" and space.blocks == 1:
        table = decoded(model, space, np.eye(space.dim, dtype=np.float32))
        return None if table is None else _layers([(table.T, None)], "identity", {"name": "identity"})
    if isinstance(model, Decoder) and isinstance(model.net, MLP):
        output = _output(model.likelihood_family)
        linear = len(model.net.layers) == 1
        name = "identity" if linear else _activation(model.net.activation)
        if output is not None and name is not None:
            pairs = [(np.asarray(layer.weight), np.asarray(layer.bias)) for layer in model.net.layers]
            return _layers(pairs, name, output)
    return _affine(model, space)


def _activation(function: Any) -> str | None:
    return next((name for known, name in ACTIVATIONS.items() if known is function), None)


def _output(family: likelihoods.AbstractLikelihood) -> dict[str, Any] | None:
    """Say how the network's output becomes E[x]."""
    if isinstance(family, likelihoods.Bernoulli):
        return {"name": "sigmoid"}
    if isinstance(family, likelihoods.Gaussian):
        frame = family.frame
        return {
            "name": "affine",
            "shift": np.asarray(frame.shift, np.float64).tolist(),
            "scale": np.asarray(frame.scale, np.float64).tolist(),
        }
    if isinstance(family, likelihoods.Categorical):
        return {"name": "expected_category", "classes": family.num_classes}
    return None


def _affine(model: Any, space: LatentSpace) -> dict[str, Any] | None:
    """Return one layer if E[x | z] turns out to be affine in z, as in factor analysis."""
    probes = np.random.default_rng(0).normal(size=(4, space.dim))
    z = np.concatenate([np.zeros((1, space.dim)), np.eye(space.dim), probes]).astype(np.float32)
    x = decoded(model, space, z)
    if x is None:
        return None
    bias, weight = x[0], (x[1 : space.dim + 1] - x[0]).T
    error = np.abs(probes @ weight.T + bias - x[space.dim + 1 :]).max()
    if not error <= 1e-3 * max(np.abs(weight).max(), 1e-12):
        return None
    return _layers([(weight, bias)], "identity", {"name": "identity"})


def _layers(
    pairs: Sequence[tuple[np.ndarray, np.ndarray | None]], activation: str, output: dict[str, Any]
) -> dict[str, Any] | None:
    size = sum(w.size for w, _ in pairs) * 4
    if size > 2 * BYTES_AS_FLOAT16:
        return None
    half = size > BYTES_AS_FLOAT32
    layers = [
        {
            "weight": packed(w, half=half),
            "bias": packed(np.zeros(len(w)) if b is None else b),
            "in": w.shape[1],
            "out": w.shape[0],
        }
        for w, b in pairs
    ]
    return {"net": {"layers": layers, "activation": activation, "output": output}}


def _grid(model: Any, space: LatentSpace, order: list[int]) -> dict[str, Any] | None:
    """Decode a grid over the two most used dimensions, the others at the prior mean."""
    if space.kind != "continuous":
        return None
    axes = order[:2]
    ticks = np.linspace(-REACH, REACH, GRID)
    z = np.tile(space.center, (GRID ** len(axes), 1))
    z[:, axes] += space.scale[axes] * np.array(list(itertools.product(ticks, repeat=len(axes))))
    values = decoded(model, space, z)
    if values is None or values.size * 2 > BYTES_AS_FLOAT16:
        return None
    return {
        "grid": {"axes": axes, "points": GRID, "out": values.shape[1], "values": packed(values, half=True)}
    }


def packed(values: np.ndarray, *, half: bool = False) -> dict[str, str]:
    """Write numbers as base64 little-endian floats."""
    kind = "<f2" if half else "<f4"
    limit = np.finfo(np.float16).max if half else np.inf
    raw = np.ascontiguousarray(np.clip(values, -limit, limit), dtype=kind).tobytes()
    return {"dtype": kind[1:], "base64": base64.b64encode(raw).decode()}
