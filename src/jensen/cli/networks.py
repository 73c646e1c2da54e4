"""Which networks a preset of tables is made with: perceptrons, or convolutions where rows are pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jensen.cli.preset import Facts, Options
from jensen.errors import InputError

if TYPE_CHECKING:
    from jensen.typing import PRNGKey

LARGE = 48
"""Pictures with no side shorter are first cut into patches of 4 pixels, others of 2."""


def choose_widths(given: Options, facts: Facts, chosen: Options) -> Options:
    """Choose the channels of convolutions where nobody says."""
    if chosen["net"] != "conv" or "widths" in given:
        return {}
    return {"widths": [64, 128, 256] if _patch(facts) == 4 else [32, 64]}


def to_parameters(options: Options, facts: Facts, out_dim: int, key: PRNGKey) -> dict[str, Any]:
    """Return what makes a posterior's network from a row to ``out_dim`` numbers."""
    if options.get("net", "mlp") == "mlp":
        return {"widths": options["widths"]}
    from jensen.nets import ConvEncoder

    shape, patch = _pictures(facts), _patch(facts)
    return {"net": ConvEncoder(shape, out_dim, channels=options["widths"], patch=patch, key=key).quiet()}


def from_latents(options: Options, facts: Facts, in_dim: int, key: PRNGKey) -> dict[str, Any]:
    """Return what makes a decoder's network from ``in_dim`` numbers to a number for each column."""
    if options.get("net", "mlp") == "mlp":
        return {"widths": options["widths"]}
    from jensen.nets import ConvDecoder

    shape, patch = _pictures(facts), _patch(facts)
    return {"net": ConvDecoder(in_dim, shape, channels=options["widths"], patch=patch, key=key)}


def _pictures(facts: Facts) -> tuple[int, ...]:
    if facts.image_shape is None:
        raise InputError(
            "--net conv is for pictures (digits, a folder of images, MNIST), and these rows are none; "
            "leave it out"
        )
    return facts.image_shape


def _patch(facts: Facts) -> int:
    return 4 if facts.image_shape is not None and min(facts.image_shape[:2]) >= LARGE else 2
