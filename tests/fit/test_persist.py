"""Saving and loading: every kind of leaf, every kind of damage, every kind of interruption."""

from __future__ import annotations

import errno
import functools
import json
import math
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
import safetensors.numpy
from fit_interrupts import Killed, interrupt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jensen.errors import CorruptRunError, InputError
from jensen.fit import checkpoints, files, persist, tensors
from jensen.fit.checkpoints import save_checkpoint
from jensen.fit.files import write_atomically
from jensen.fit.persist import load_tree, save_tree

KEY = jax.random.key(0)


def equal(a: Any, b: Any) -> bool:
    """Bit-for-bit equality of two trees: types, dtypes, weak types, NaN payloads, static fields."""
    if type(a) is not type(b):
        return False
    if isinstance(a, jax.Array):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        return a.weak_type == b.weak_type and np.asarray(a).tobytes() == np.asarray(b).tobytes()
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, eqx.Module):
        return vars(a).keys() == vars(b).keys() and all(equal(vars(a)[k], vars(b)[k]) for k in vars(a))
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, functools.partial):
        return equal((a.func, a.args, a.keywords), (b.func, b.args, b.keywords))
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or struct.pack("d", a) == struct.pack("d", b)
    if isinstance(a, complex):
        return equal((a.real, a.imag), (b.real, b.imag))
    return a is b or a == b


def through(folder: Path, tree: Any, **options: Any) -> Any:
    save_tree(folder, "model", tree)
    return load_tree(folder, "model", **options).tree


class Own(eqx.Module):
    """A class of the user's own, outside jensen."""

    first: jax.Array
    second: jax.Array
    activation: Any
    width: int = eqx.field(static=True)


class Holder(eqx.Module):
    model: Any


class Pair(NamedTuple):
    left: Any
    right: Any


def own_function(x: jax.Array) -> jax.Array:
    return x


def make_own(seed: int, activation: Any = own_function, width: int = 3) -> Own:
    key = jax.random.key(seed)
    return Own(jax.random.normal(key, (3,)), -jax.random.normal(key, (3,)), activation, width)


# ---- what can be saved ---------------------------------------------------------------------------------


def test_an_equinox_network_comes_back_with_the_same_tree_structure_and_meets_the_same_jit_cache(
    tmp_path: Path,
):
    for activation in (
        jax.nn.relu,
        jnp.tanh,
        jax.nn.gelu,
        jax.nn.softplus,
        jax.lax.exp,
        jnp.exp,
        eqx.nn.PReLU(),
    ):
        net = eqx.nn.MLP(2, 3, 4, 2, activation=activation, key=KEY)
        back = through(tmp_path, net)
        assert equal(net, back)
        assert jax.tree_util.tree_structure(net) == jax.tree_util.tree_structure(back)

    traces = []

    @eqx.filter_jit
    def run(net: eqx.nn.MLP, x: jax.Array) -> jax.Array:
        traces.append(1)
        return net(x)

    np.testing.assert_array_equal(run(net, jnp.ones(2)), run(back, jnp.ones(2)))
    assert len(traces) == 1


def test_the_default_mlp_is_named_by_public_paths(tmp_path: Path):
    save_tree(tmp_path, "model", eqx.nn.MLP(2, 3, 4, 1, key=KEY))
    text = (tmp_path / "model.json").read_text()
    assert '"equinox.nn:MLP"' in text and '"jax.nn:relu"' in text
    names = set(safetensors.numpy.load((tmp_path / "model.safetensors").read_bytes()))
    assert names == {f"layers[{i}].{kind}" for i in (0, 1) for kind in ("weight", "bias")}


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint32", "int32", "float16", "bfloat16", "float32", "complex64"]
)
@pytest.mark.parametrize("shape", [(), (0, 2), (3, 2)])
def test_jax_arrays_keep_dtype_shape_and_bits(tmp_path: Path, dtype: str, shape: tuple[int, ...]):
    array = jnp.asarray(np.arange(math.prod(shape)).reshape(shape) % 3, dtype)
    assert equal(through(tmp_path, {"a": array}), {"a": array})


@pytest.mark.parametrize(
    "dtype", ["float64", "int64", "uint64", "complex128", "float8_e4m3fn", "int4", "bfloat16"]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_arrays_stay_numpy_and_writable(tmp_path: Path, dtype: str, order: str):
    kind = getattr(ml_dtypes, dtype, None) or np.dtype(dtype)
    array = np.asarray(np.arange(6).reshape(3, 2), kind, order=order)
    back = through(tmp_path, (array, array[1:, :1]))
    assert equal(back, (array, array[1:, :1]))
    back[0][0, 0] = 1


def test_nan_payloads_negative_zero_and_subnormals_keep_their_bits(tmp_path: Path):
    bits = np.array([0x7FC00001, 0xFFC12345, 0x80000000, 1, 0x7F800000, 0xFF800000], np.uint32)
    tree = [bits.view(np.float32), jnp.asarray(bits.view(np.float32))]
    assert equal(through(tmp_path, tree), tree)


def test_weak_types_survive(tmp_path: Path):
    tree = [jnp.asarray(-0.0), jnp.full((2, 3), 1.5), jnp.full((0,), 1.0), jnp.asarray(3), jnp.asarray(1j)]
    assert all(a.weak_type for a in tree)
    back = through(tmp_path, tree)
    assert equal(back, tree)
    assert (back[1] * jnp.ones((), jnp.bfloat16)).dtype == jnp.bfloat16


def test_random_keys_keep_their_kind_and_stream(tmp_path: Path):
    tree = {"key": KEY, "batch": jax.random.split(KEY, 3), "rbg": jax.random.key(1, impl="rbg")}
    back = through(tmp_path, tree)
    assert equal(back, tree)
    for name in ("key", "rbg"):
        np.testing.assert_array_equal(
            jax.random.normal(back[name], (2,)), jax.random.normal(tree[name], (2,))
        )


def test_every_kind_of_plain_value(tmp_path: Path):
    tree = {
        "none": None,
        "numbers": (True, False, 0, -7, 2**53, -(2**200), 0.1, -0.0, math.inf, -math.inf, math.nan, 1 + 2j),
        "text": ["", 'a\n"ü\ud800', b"", b"\x00\xff"],
        "scalars": [
            np.float32(0.1),
            np.int64(-3),
            np.bool_(True),
            np.float64(math.nan),
            ml_dtypes.bfloat16(1.5),
        ],
        "types": [np.dtype("int16"), jnp.float32, np.float64, jnp.bfloat16],
        "functions": [jax.nn.relu, jnp.maximum, functools.partial(jax.nn.gelu, approximate=False)],
        "jax partial": jax.tree_util.Partial(jax.nn.leaky_relu, negative_slope=jnp.asarray(0.2)),
        "empty": [(), [], {}],
        ("tuple", 1): {1: "one", False: "no", None: "none", b"b": 1},
    }
    back = through(tmp_path, tree)
    assert equal(back, tree)
    assert back["functions"][0] is jax.nn.relu


def test_optimizer_states_rebuild_without_a_template(tmp_path: Path):
    params = eqx.filter(eqx.nn.MLP(2, 1, 3, 1, key=KEY), eqx.is_array)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.inject_hyperparams(optax.adam)(1e-3))
    state = optimizer.init(params)
    back = through(tmp_path, state)
    assert jax.tree_util.tree_structure(back) == jax.tree_util.tree_structure(state)
    assert all(map(equal, jax.tree.leaves(back), jax.tree.leaves(state)))


def test_the_tensor_file_is_plain_safetensors(tmp_path: Path):
    save_tree(tmp_path, "model", {"w": jnp.arange(3.0)})
    loaded = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded["['w']"], [0.0, 1.0, 2.0])


def test_only_its_own_leftovers_are_swept_away(tmp_path: Path):
    others = ["model.best.safetensors", "other.0123456789abcdef.safetensors"]
    for name in [*others, "model.0123456789abcdef.safetensors", ".model.json.1-2.tmp"]:
        (tmp_path / name).touch()
    save_tree(tmp_path, "model", ())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*others, "model.json", "model.safetensors"]
    )


def test_extra_json_round_trips(tmp_path: Path):
    extra = {"history": [1.0, math.nan, -math.inf], "stop": "epochs", "nested": {"a": None, "__float__": 1}}
    save_tree(tmp_path, "model", (), extra=extra)
    assert equal(load_tree(tmp_path, "model").extra, extra)
    json.loads((tmp_path / "model.json").read_text(), parse_constant=pytest.fail)
    with pytest.raises(InputError, match=r"extra\['x'\] is a set, which JSON cannot hold"):
        save_tree(tmp_path, "model", (), extra={"x": {1}})


def test_sixty_four_bit_jax_arrays_are_refused_rather_than_rounded(tmp_path: Path):
    with jax.enable_x64(True):
        tree = {"w": jnp.asarray(0.1, jnp.float64)}
        assert equal(through(tmp_path, tree), tree)
    with pytest.raises(InputError, match=r"\['w'\] was saved as float64; turn jax_enable_x64 on"):
        load_tree(tmp_path, "model")


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=4),
    st.binary(max_size=4),
    st.sampled_from([jax.nn.relu, jnp.tanh, KEY, np.float32(2)]),
    st.tuples(
        st.sampled_from(["bool", "int8", "uint16", "int64", "float16", "bfloat16", "float64", "complex128"]),
        st.lists(st.integers(0, 3), max_size=3),
        st.binary(min_size=27 * 16, max_size=27 * 16),
    ).map(lambda drawn: _array(*drawn)),
)
keys = [st.text(max_size=3), st.integers(-3, 3), st.tuples(st.text(max_size=1), st.booleans())]
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        *(st.dictionaries(key, inner, max_size=3) for key in keys),
        inner.map(lambda part: eqx.nn.Lambda(part)),
    ),
    max_leaves=8,
)


def _array(dtype: str, shape: list[int], content: bytes) -> np.ndarray:
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    raw = np.frombuffer(content[:size], np.uint8)
    return (raw % 2 if dtype == "bool" else raw).view(kind).reshape(shape)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees)
def test_random_trees_round_trip_bit_for_bit(tmp_path: Path, tree: Any):
    back = through(tmp_path, tree)
    assert equal(back, tree)
    assert equal(through(tmp_path, tree, **({} if tree is None else {"like": tree})), tree)


# ---- what cannot -----------------------------------------------------------------------------------------


def test_a_lambda_is_refused_with_its_path_or_recorded_for_a_template(tmp_path: Path):
    net = eqx.nn.MLP(2, 1, 3, 1, activation=lambda x: x, key=KEY)
    with pytest.raises(
        InputError, match=r"^model.activation is .*<lambda>.*use a function .* such as jax.nn.relu$"
    ):
        save_tree(tmp_path, "model", Holder(net))
    assert not list(tmp_path.iterdir())
    save_tree(tmp_path, "model", net, unnamed="record")
    with pytest.raises(InputError, match=r"activation was .*<lambda>.*pass like="):
        load_tree(tmp_path, "model")
    assert load_tree(tmp_path, "model", like=net).tree.activation is net.activation


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": np.array(["x"])}, r"\['a'\] is an array of <U1, which cannot be saved"),
        ({"a": np.array([None])}, r"\['a'\] is an array of object"),
        ({"a": object()}, r"\['a'\] is builtins:an object of class object, which cannot be saved"),
        ({"a": {1, 2}}, "an object of class set"),
        ({1.5: 1}, "the dict key 1.5 cannot be saved; use strings"),
        ({"a": jax.jit(lambda x: x)}, "cannot be saved by name"),
    ],
)
def test_what_cannot_be_saved_is_refused_with_its_path(tmp_path: Path, tree: Any, message: str):
    with pytest.raises(InputError, match=message):
        save_tree(tmp_path, "model", tree)


def test_a_traced_value_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="being traced by jax"):
        jax.jit(lambda x: save_tree(tmp_path, "model", {"x": x}))(1.0)


# ---- a user's own classes: templates ------------------------------------------------------------------------


def test_own_classes_need_a_template_and_data_comes_from_the_file(tmp_path: Path):
    saved, template = make_own(1), make_own(2)
    save_tree(tmp_path, "model", saved)
    with pytest.raises(InputError, match=r"your own .*Own.*pass like=TEMPLATE"):
        load_tree(tmp_path, "model")
    back = load_tree(tmp_path, "model", like=template).tree
    assert equal(back, saved)
    assert jax.tree_util.tree_structure(back) == jax.tree_util.tree_structure(saved)
    shapes = eqx.filter_eval_shape(make_own, 2)
    assert equal(load_tree(tmp_path, "model", like=shapes).tree, saved)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (lambda: make_own(2, width=4), "does not fit at width: saved 3, the template 4"),
        (lambda: make_own(2, activation=jax.nn.relu), "does not fit at activation: saved .*own_function"),
        (lambda: eqx.tree_at(lambda o: o.first, make_own(2), jnp.zeros(4)), r"at first: saved float32\[3\]"),
        (lambda: eqx.tree_at(lambda o: o.first, make_own(2), jnp.zeros(3, int)), r"the template int32\[3\]"),
        (
            lambda: eqx.tree_at(lambda o: o.first, make_own(2), 1.0),
            "at first: saved array, the template float",
        ),
        (lambda: Pair(1, 2), "does not fit at the root: saved module, the template namedtuple"),
        (lambda: eqx.nn.Linear(1, 1, key=KEY), "does not fit at"),
    ],
)
def test_a_template_that_does_not_fit_is_refused_with_the_path(tmp_path: Path, template: Any, message: str):
    save_tree(tmp_path, "model", make_own(1))
    with pytest.raises(InputError, match=message):
        load_tree(tmp_path, "model", like=template())


def test_fields_are_matched_by_name_so_two_swapped_ones_cannot_load_silently(tmp_path: Path):
    saved = make_own(1)
    save_tree(tmp_path, "model", saved)

    class Own(eqx.Module):  # the same fields in another order
        second: jax.Array
        first: jax.Array
        activation: Any
        width: int = eqx.field(static=True)

    # A nested class has another qualified name, so it is not mistaken for the saved one ...
    swapped = Own(saved.first, saved.second, own_function, 3)
    with pytest.raises(InputError, match="does not fit"):
        load_tree(tmp_path, "model", like=swapped)
    # ... and under the saved name each array goes to the field it was saved from.
    Own.__qualname__ = "Own"
    back = load_tree(tmp_path, "model", like=swapped).tree
    assert equal((back.first, back.second), (saved.first, saved.second))


def test_a_renamed_field_is_refused(tmp_path: Path):
    save_tree(tmp_path, "model", {"a": jnp.zeros(2), "b": jnp.ones(2)})
    with pytest.raises(
        InputError, match=r"like= does not fit at \['b'\]: saved has it, the template has not it"
    ):
        load_tree(tmp_path, "model", like={"a": jnp.zeros(2), "c": jnp.ones(2)})


def test_a_python_number_is_data_and_comes_from_the_file(tmp_path: Path):
    save_tree(tmp_path, "model", {"best": 3, "big": 2**70, "rate": 0.5})
    assert load_tree(tmp_path, "model", like={"best": 2**60, "big": 1, "rate": 0.1}).tree == {
        "best": 3,
        "big": 2**70,
        "rate": 0.5,
    }


# ---- damage ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Path:
    save_tree(tmp_path, "model", eqx.nn.Linear(2, 3, key=KEY), extra={"epochs": 7})
    return tmp_path


def rewrite(run: Path, **changes: Any) -> None:
    """Change the JSON the way only a program would: with a matching hash."""
    document = json.loads((run / "model.json").read_text())
    document.pop("sha256")
    document.update(changes)
    document["sha256"] = tensors.digest(document)
    (run / "model.json").write_text(json.dumps(document))


def refused(run: Path) -> str:
    with pytest.raises(CorruptRunError) as caught:
        load_tree(run, "model")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_runs_and_files(run: Path):
    assert refused(run / "nowhere").startswith(f"no run at {run / 'nowhere'}: there is no such folder")
    (run / "model.safetensors").unlink()
    assert "model.safetensors is missing" in refused(run)
    (run / "model.json").unlink()
    assert refused(run).startswith(f"no run at {run}: model.json is missing")


def test_a_newer_format_says_upgrade(run: Path):
    rewrite(run, format_version=2)
    assert "was written by a newer jensen (format 2; this one reads 1): upgrade jensen" in refused(run)


def test_a_flipped_byte_in_the_weights_names_the_tensor(run: Path):
    raw = bytearray((run / "model.safetensors").read_bytes())
    raw[-1] ^= 1
    (run / "model.safetensors").write_bytes(raw)
    assert "is damaged in tensor 'weight'" in refused(run)


def test_equal_arrays_make_equal_files():
    arrays = {name: np.ones(3, np.float32) for name in "abcdef"}
    assert len({tensors.to_bytes(arrays, "the same") for _ in range(30)}) == 1


def test_files_of_two_different_saves_are_not_mixed(run: Path, tmp_path_factory: pytest.TempPathFactory):
    other = tmp_path_factory.mktemp("other")
    save_tree(other, "model", eqx.nn.Linear(2, 3, key=jax.random.key(1)))
    shutil.copy(other / "model.safetensors", run / "model.safetensors")
    assert "does not belong to the .json beside it" in refused(run)


def test_tensors_swapped_under_a_forged_header_are_caught(run: Path):
    document = json.loads((run / "model.json").read_text())
    arrays = {"weight": np.ones((3, 2), np.float32), "bias": np.ones(3, np.float32)}
    (run / "model.safetensors").write_bytes(tensors.to_bytes(arrays, document["pair"]))
    assert "is damaged in tensor" in refused(run)
    (run / "model.safetensors").write_bytes(
        tensors.to_bytes({**arrays, "more": arrays["bias"]}, document["pair"])
    )
    assert "has an unknown tensor 'more'" in refused(run)
    (run / "model.safetensors").write_bytes(tensors.to_bytes({"bias": arrays["bias"]}, document["pair"]))
    assert "lacks tensor 'weight'" in refused(run)


@pytest.mark.parametrize(
    ("structure", "error", "message"),
    [
        ({"module": "os:path"}, InputError, "your own os:path"),
        ({"import": "equinox:os.system"}, CorruptRunError, "not installed here"),
        ({"import": "jax:nowhere"}, CorruptRunError, "needs jax:nowhere, which is not installed here"),
        ({"module": "equinox.nn:NoSuch", "items": {}}, CorruptRunError, "needs equinox.nn:NoSuch"),
        (
            {"module": "equinox.nn:Linear", "items": {".weight": 1}},
            CorruptRunError,
            "was saved with the fields",
        ),
        ({"module": "jax.nn:relu", "items": {}}, CorruptRunError, "describes no tree"),
        ({"mystery": 1}, CorruptRunError, "unknown kind 'mystery'"),
        ({"array": "jax"}, CorruptRunError, "describes no tree"),
        ({}, CorruptRunError, "describes no tree"),
        (1, CorruptRunError, "no place for the tensor"),
    ],
)
def test_a_structure_with_a_matching_hash_still_imports_nothing_foreign(
    run: Path, structure: Any, error: type[Exception], message: str
):
    rewrite(run, structure=structure)
    with pytest.raises(error, match=message):
        load_tree(run, "model")


def corrupt(raw: bytes, random: np.random.Generator) -> bytes:
    """One random mishap to a file."""
    a, b = sorted(int(i) for i in random.integers(0, len(raw), 2))
    match int(random.integers(6)):
        case 0:
            return raw[:a] + bytes([raw[a] ^ int(random.integers(1, 256))]) + raw[a + 1 :]
        case 1:
            return raw[:a]
        case 2:
            return raw[:a] + raw[b : b + 1] + raw[a + 1 : b] + raw[a : a + 1] + raw[b + 1 :]
        case 3:
            return raw[:a] + raw[b:]
        case 4:
            return raw[:b] + raw[a:]
        case _:
            return raw[:a] + bytes([raw[a] ^ (1 << int(random.integers(8)))]) + raw[a + 1 :]


@pytest.mark.parametrize("trials", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_corruptions_load_equal_or_not_at_all(tmp_path: Path, trials: int):
    tree = {
        "w": np.arange(4, dtype=np.float32),
        "n": 3,
        "lr": 0.1,
        "key": np.zeros(2, np.uint32),
        "s": ("a", "b"),
    }
    extra = {"step": 12, "loss": 1.5}
    save_tree(tmp_path, "model", tree, extra=extra)
    clean = {path: path.read_bytes() for path in sorted(tmp_path.iterdir())}
    assert [path.name for path in clean] == ["model.json", "model.safetensors"]
    random = np.random.default_rng(0)
    refusals = harmless = 0
    for trial in range(trials):
        path = list(clean)[trial % 2]
        path.write_bytes(corrupt(clean[path], random))
        try:
            loaded = load_tree(tmp_path, "model")
        except CorruptRunError:
            refusals += 1
        else:
            harmless += 1
            assert equal(loaded.tree, tree) and loaded.extra == extra
        path.write_bytes(clean[path])
    assert refusals > 0.9 * trials, (refusals, harmless)


# ---- interruptions -----------------------------------------------------------------------------------------------


KILLED_SAVE = """
import os, sys
import numpy as np
from jensen.fit import persist
folder, call, at = sys.argv[1], sys.argv[2], int(sys.argv[3])
real, seen = getattr(os, call), []
def dying(*args, **kwargs):
    seen.append(1)
    if len(seen) - 1 == at:
        os.kill(os.getpid(), 9)
    return real(*args, **kwargs)
persist.save_tree(folder, "model", {"w": np.zeros(3)}, extra={"save": 1})
setattr(os, call, dying)
persist.save_tree(folder, "model", {"w": np.ones(3)}, extra={"save": 2})
"""


@pytest.mark.parametrize("at", range(3))
def test_a_real_kill_at_each_rename_leaves_a_whole_pair(tmp_path: Path, at: int):
    done = subprocess.run([sys.executable, "-c", KILLED_SAVE, str(tmp_path), "replace", str(at)], timeout=60)
    assert done.returncode == -9
    loaded = load_tree(tmp_path, "model")
    assert loaded.extra["save"] == (2 if at == 2 else 1)
    assert loaded.tree["w"].tolist() == [loaded.extra["save"] - 1] * 3
    save_tree(tmp_path, "model", {"w": np.full(3, 7)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


@pytest.mark.parametrize("call", ["replace", "fsync", "open"])
def test_a_stop_at_any_moment_leaves_a_whole_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str):
    seen_all = False
    for at in range(20):
        shutil.rmtree(tmp_path)
        save_tree(tmp_path, "model", {"w": np.zeros(3)}, extra={"save": 1})
        with monkeypatch.context() as patch:
            seen = interrupt(patch, call, at, Killed())
            try:
                save_tree(tmp_path, "model", {"w": np.ones(3)}, extra={"save": 2})
                seen_all = True
            except Killed:
                pass
        loaded = load_tree(tmp_path, "model")
        assert loaded.tree["w"].tolist() == [loaded.extra["save"] - 1] * 3
        if seen_all:
            assert len(seen) == at and at >= 3
            return
    pytest.fail("the save never finished")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full; free some space or choose another folder"),
        (errno.EROFS, "the file system is read-only; choose another folder"),
        (errno.EACCES, "no permission to write there; choose another folder"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EIO, "choose another folder"),
    ],
)
@pytest.mark.parametrize("at", range(3))
def test_a_failing_disk_is_one_line_and_leaves_the_earlier_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str, at: int
):
    save_tree(tmp_path, "model", {"w": np.zeros(3)})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        interrupt(patch, "fsync", at, OSError(code, os.strerror(code)))
        with pytest.raises(InputError) as caught:
            save_tree(tmp_path, "model", {"w": np.ones(3)})
    assert words in str(caught.value) and str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    if at != 1:  # at 1 the staged tensors were renamed and only the folder's fsync failed
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert load_tree(tmp_path, "model").tree["w"].tolist() == [0.0] * 3


def test_write_atomically_keeps_the_earlier_file_and_the_users_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    target = tmp_path / "note.txt"
    write_atomically(target, b"first")
    plain = tmp_path / "plain"
    plain.touch()
    assert target.stat().st_mode == plain.stat().st_mode
    with monkeypatch.context() as patch:
        interrupt(patch, "replace", 0, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(InputError, match=r"^could not write .*note.txt: the disk is full"):
            write_atomically(target, b"second")
    assert target.read_bytes() == b"first" and len(list(tmp_path.iterdir())) == 2
    with pytest.raises(InputError, match=r"could not write .*a part of the path is a file"):
        write_atomically(target / "below", b"")
    with pytest.raises(InputError, match=r"could not write .*folder does not exist"):
        write_atomically(tmp_path / "gone" / "x", b"")


@pytest.mark.skipif(not Path("/dev/full").exists() or not Path("/dev/shm").is_dir(), reason="needs Linux")
def test_a_full_disk_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = os.open
    monkeypatch.setattr(
        os, "open", lambda path, flags, *mode: real("/dev/full" if flags & os.O_CREAT else path, os.O_RDWR)
    )
    with pytest.raises(InputError, match="the disk is full"):
        write_atomically(tmp_path / "x", b"content")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_folder_for_real(tmp_path: Path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="no permission to write there"):
            save_tree(tmp_path, "model", ())
        with pytest.raises(InputError, match="no permission to write there"):
            save_checkpoint(tmp_path, 1, ())
    finally:
        tmp_path.chmod(0o700)


def test_saving_needs_no_optax_and_no_pickle():
    for module in (files, persist, checkpoints, tensors):
        source = Path(module.__file__).read_text()
        assert "pickle." not in source and "import optax" not in source
