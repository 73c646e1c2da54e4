"""Options are read alike from words and from YAML, and settle to what the fit needs."""

from __future__ import annotations

from typing import Any

import pytest

from jensen.cli.options import OPTIONS, read_options
from jensen.cli.presets import PRESETS, Facts, check_used, settle
from jensen.errors import InputError

SMALL = Facts("real", 100, 4)


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("epochs", "1_000", 1000),
        ("epochs", 1e3, 1000),
        ("learning_rate", "1e-3", 1e-3),
        ("widths", "8,4", [8, 4]),
        ("widths", [8, 4], [8, 4]),
        ("labels", "3", 3),
        ("labels", "-1", -1),
        ("labels", "species", "species"),
        ("standardize", True, True),
        ("drop", "name,0", ["name", 0]),
        ("drop", ["a,b", -1], ["a,b", -1]),
        ("gap_rows", "0", 0),
        ("validation", 0, 0.0),
    ],
)
def test_read(name: str, written: Any, value: Any):
    assert read_options({name: written, "seed": None}) == {name: value}


@pytest.mark.parametrize("preset", PRESETS)
def test_settled_options_are_options_and_settle_to_themselves(preset: str):
    settled = settle(check_used(preset, {}), {}, SMALL)
    assert set(settled) <= set(OPTIONS) and read_options(settled) == settled
    assert settle(check_used(preset, settled), settled, SMALL) == settled


def test_the_data_decides_the_likelihood_and_the_schedule():
    def vae(facts: Facts, **given: Any) -> dict[str, Any]:
        return settle(check_used("vae", given), given, facts)

    assert vae(Facts("binary", 100, 4))["likelihood"] == "bernoulli"
    assert {vae(Facts(kind, 100, 4))["likelihood"] for kind in ("unit", "bytes", "count", "real")} == {
        "gaussian"
    }
    assert (vae(SMALL)["epochs"], vae(SMALL)["batch_size"], vae(SMALL)["widths"]) == (300, 64, [128, 128])
    mnist = vae(Facts("binary", 54_000, 784))
    assert (mnist["epochs"], mnist["batch_size"], mnist["widths"]) == (48, 128, [256, 256])
    assert "epochs" not in vae(SMALL, steps=10)
    assert vae(SMALL, objective="iwae")["gradient"] == "doubly-reparam"
    assert "beta" not in vae(SMALL, objective="iwae")
    assert vae(SMALL, gradient="score-function")["num_samples"] == 4


def test_priors_and_penalties_settle_to_what_they_read():
    def chosen(preset: str, **given: Any) -> dict[str, Any]:
        return settle(check_used(preset, given), given, SMALL)

    assert chosen("vae")["prior"] == "normal" and chosen("vae", prior="vamp")["prior"] == "vamp"
    assert chosen("vae", objective="beta-tc")["beta"] == 4.0
    assert chosen("vae", objective="beta-tc", beta=2.0)["beta"] == 2.0
    assert "free_bits" not in chosen("vae", objective="infovae")
    for preset, given in (
        ("cvae", {"prior": "vamp"}),
        ("dvae", {"objective": "beta-tc"}),
        ("vae", {"objective": "infovae", "free_bits": 1.0}),
        ("vae", {"prior": "ladder"}),
    ):
        with pytest.raises(InputError):
            check_used(preset, given)
