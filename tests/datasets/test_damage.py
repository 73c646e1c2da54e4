"""Whatever happens to a file's bytes, `load` answers with data or with one line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from jensen.datasets import load
from jensen.errors import InputError

X = np.random.default_rng(0).normal(size=(40, 3)).round(3)
CSV = "\n".join(["a,b,c,k", *(",".join(map(str, row)) + ",red" for row in X)]).encode()
IDX = bytes([0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2]) + bytes(24)
FILES = {
    "t.csv": lambda p: p.write_bytes(CSV),
    "t.csv.gz": lambda p: p.write_bytes(gzip.compress(CSV)),
    "t.parquet": lambda p: parquet.write_table(pa.table({"a": X[:, 0], "k": ["u"] * 40}), p),
    "t.npy": lambda p: np.save(p, X),
    "t.npz": lambda p: np.savez_compressed(p, x=X, y=np.arange(40)),
    "t.idx": lambda p: p.write_bytes(IDX),
    "t.idx.gz": lambda p: p.write_bytes(gzip.compress(IDX)),
    "pictures/t.png": lambda p: Image.fromarray(np.arange(81, dtype=np.uint8).reshape(9, 9)).save(p),
    "pictures/t.jpg": lambda p: Image.fromarray(np.arange(81, dtype=np.uint8).reshape(9, 9)).save(p),
}


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    start, stop = sorted(rng.integers(len(data) + 1, size=2).tolist())
    stop = min(stop, start + 20)
    noise = rng.integers(256, size=stop - start, dtype=np.uint8).tobytes()
    return (data[:start], data[:start] + data[stop:], data[:start] + noise + data[stop:])[rng.integers(3)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FILES)
def test_damaged_bytes(name: str, tmp_path: Path):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    FILES[name](file)
    whole, rng, refused = file.read_bytes(), np.random.default_rng(1), 0
    target = file.parent if name.startswith("pictures") else file
    options = {"labels": "k"} if name.startswith(("t.csv", "t.parquet")) else {}
    load(target, **options)
    for _ in range(200):
        file.write_bytes(damage(whole, rng))
        try:
            load(target, **options)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error) and str(tmp_path) in str(error)
    assert refused > 50
