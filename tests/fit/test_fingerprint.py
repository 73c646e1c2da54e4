"""Optimizers and schedules are equal by content, and only then."""

from __future__ import annotations

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jensen.fit.fingerprint import Static, array_digest

RATE = 1.0


def scaled(step):
    return RATE * step


def ramp(end):
    return lambda step: end * step


@pytest.mark.parametrize(
    "make",
    [
        lambda: optax.adam(1e-3),
        lambda: optax.chain(
            optax.clip_by_global_norm(1.0), optax.adamw(optax.cosine_decay_schedule(1e-2, 9))
        ),
        lambda: optax.adam(ramp(2.0)),
        lambda: (jnp.arange(3), {"b": [np.float32(2), None, "x"]}),
        lambda: scaled,
    ],
)
def test_made_alike_is_equal(make):
    assert Static(make()) == Static(make())
    assert hash(Static(make())) == hash(Static(make()))
    assert Static(make()).digest() == Static(make()).digest()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (optax.adam(1e-3), optax.adam(2e-3)),
        (optax.adam(1e-3), optax.adamw(1e-3)),
        (optax.adam(1e-3), optax.adam(1e-3, nesterov=True)),
        (optax.adam(ramp(2.0)), optax.adam(ramp(3.0))),
        (jnp.arange(3), jnp.arange(3.0)),
        (0.0, -0.0),
        (1, True),
        ([1], (1,)),
        (lambda step: step + 1, lambda step: step + 2),
    ],
)
def test_made_differently_is_not(one, other):
    assert Static(one) != Static(other)
    assert Static(one).digest() != Static(other).digest()


def test_a_changed_global_is_noticed(monkeypatch):
    before = Static(scaled)
    monkeypatch.setattr(sys.modules[__name__], "RATE", 2.0)
    assert Static(scaled) != before


def test_objects_without_content_are_compared_by_identity():
    one = object()
    assert Static(one) == Static(one) and Static(one) != Static(object())


def test_a_function_that_closes_over_itself_ends():
    def again(n):
        return again(n - 1) if n else 0

    assert Static(again) == Static(again)


def test_digests_are_the_same_in_another_process():
    code = (
        "import optax; from jensen.fit.fingerprint import Static; "
        "print(Static(optax.chain(optax.clip(1.0), optax.adam(1e-3))).digest())"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(2)]
    own = Static(optax.chain(optax.clip(1.0), optax.adam(1e-3))).digest()
    assert runs[0].stdout.strip() == runs[1].stdout.strip() == own


def test_array_digests_see_shape_type_and_bytes():
    arrays = [jnp.zeros(4), jnp.zeros((2, 2)), jnp.zeros(4, jnp.int32), jnp.zeros(4).at[0].set(-0.0)]
    assert len({array_digest(a) for a in arrays}) == 4
