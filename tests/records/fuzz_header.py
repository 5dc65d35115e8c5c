"""Fuzz the reader of weights files: `python tests/records/fuzz_header.py --seconds 60`.

Whatever the bytes, only a ZooError may escape, and what is accepted is what `safetensors` reads. With atheris installed
its coverage leads the mutations, else they are random.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import inspect
import json
import random
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import safetensors

from zoo.errors import WeightsError
from zoo.records import header, metadata

TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
PIECES = [
    *(
        piece.encode()
        for piece in ('"', "\\", "{", "}", "[", "]", ",", ":", "-0", "1e400", "NaN", "null", "true", "[]")
    ),
    *(json.dumps(piece).encode() for piece in (*TENSOR, "__metadata__", "zoo", "format", "golden", *header.BITS)),
    *(b"\0", b"\xff", b"\x1b", b"\\ud800", b"\\u0000", "é".encode(), b"9" * 25, b"[" * 40, b"PK\x03\x04", b"\x80\x04"),
]


def pack(header: Any, data: bytes = b"") -> bytes:
    """Return the bytes of a file; a header that is not text or bytes is dumped as JSON."""
    text = header if isinstance(header, str | bytes) else json.dumps(header)
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw + data


def make_metadata(**changes: Any) -> dict[str, Any]:
    """Return metadata of format 2 with all parts, for two samples of two classes; `...` leaves one out."""
    parts = {
        "format": 2,
        "model": "baseline",
        "plugin": {"name": "zoo", "version": "0.1.0", "source": "installed"},
        "params": {"hidden_units": 10},
        "input_shape": [1, 2, 2],
        "image": {"shape": [1, 2, 2], "dtype": "uint8", "range": [0, 255]},
        "class_names": ["cat", "dog"],
        "preprocess": {
            **{"scale": None, "channels": None, "resize": None, "interpolation": "bilinear", "crop": None},
            **{"mean": [0.5], "std": [0.25]},
        },
        "dataset": {"name": "pets", "plugin": None, "params": {}, "digest": None, "samples": {"train": 2, "test": 2}},
        "metrics": {"loss": None, "accuracy": 0.5},
        "train_config": {"epochs": 3, "lr": 0.1},
        "seed": 42,
        "device": "cpu",
        "threads": 1,
        "versions": {"zoo": "0.1.0", "torch": "2.11.0", "python": "3.11.0"},
        "digests": {"tensors": "0" * 64},
        "golden": {
            "dtype": "uint8",
            "shape": [2, 1, 2, 2],
            "stride": 1,
            "images": base64.b64encode(bytes(8)).decode(),
            "probabilities": [[0.25, 0.75], [1, 0.0]],
            "labels": ["dog", "cat"],
        },
        "statistics": {"low": -2.0, "high": 2.0, "mean": [0.1, 0.2], "contrast": [0.3, 0.1]},
        **changes,
    }
    return {key: value for key, value in parts.items() if value is not ...}


def make_seeds() -> list[bytes]:
    """Return valid files to start from."""
    more = {"b": {"dtype": "BOOL", "shape": [], "data_offsets": [8, 9]}, "c": {**TENSOR, "data_offsets": [9, 17]}}
    text = json.dumps(make_metadata())
    return [
        pack("{}"),
        pack({"a": TENSOR}, bytes(8)),
        pack({"__metadata__": {"zoo": text, "x": "é"}, "a": TENSOR, **more}, bytes(17)),
        pack({"__metadata__": {"zoo": '{"format": 2}'}, "e": {"dtype": "F4", "shape": [0, 3], "data_offsets": [0, 0]}}),
    ]


def mutate(data: bytes, chance: random.Random, edits: int = 3) -> bytes:
    """Return the data after up to so many edits: a bit, a byte, a piece put in, a range left out or said twice."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, edits)):
        place = chance.randrange(len(changed) + 1)
        end = min(len(changed), place + chance.choice((1, 1, 2, 8, 40)))
        kind = chance.randrange(5)
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[place:end] = chance.randbytes(end - place)
        elif kind == 2:
            changed[place:place] = chance.choice(PIECES)
        elif kind == 3:
            del changed[place:end]
        else:
            changed[place:place] = changed[place:end]
    if len(changed) > 8 and chance.random() < 0.7:
        # The length follows the change, so that more than the length is tried.
        length = struct.unpack("<Q", data[:8])[0] + len(changed) - len(data)
        changed[:8] = struct.pack("<Q", max(0, length))
    return bytes(changed)


def check(path: Path, data: bytes) -> header.Header | None:
    """Read the data as a file: it is refused by name, or it is what `safetensors` reads."""
    path.write_bytes(data)
    try:
        read = header.read_header(path)
    except WeightsError as error:
        if not str(error).isprintable():
            raise AssertionError(f"a message of more than one line: {error!r}") from error
        return None
    found = {
        name: (tensor.dtype, list(tensor.shape), data[read.data_start + tensor.start : read.data_start + tensor.end])
        for name, tensor in read.tensors.items()
    }
    expected = {
        name: (tensor["dtype"], tensor["shape"], bytes(tensor["data"]))
        for name, tensor in safetensors.deserialize(data)
    }
    if found != expected:
        raise AssertionError(f"zoo {found}, safetensors {expected}")
    try:
        metadata.read_metadata(path, read.metadata)
    except WeightsError as error:
        if not str(error).isprintable():
            raise AssertionError(f"a message of more than one line: {error!r}") from error
    return read


def main() -> None:
    """Fuzz for the seconds asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.safetensors"
        if importlib.util.find_spec("atheris"):
            _lead(path, folder, arguments)
        else:
            _wander(path, arguments)


def _lead(path: Path, folder: str, arguments: argparse.Namespace) -> None:
    import atheris

    for module in (header, metadata):
        for thing in vars(module).values():
            if inspect.isfunction(thing) and thing.__module__ == module.__name__:
                atheris.instrument_func(thing)
    corpus = Path(folder) / "corpus"
    corpus.mkdir()
    for index, seed in enumerate(make_seeds()):
        (corpus / str(index)).write_bytes(seed)

    def change(data: bytes, most: int, seed: int) -> bytes:
        changed = mutate(data, random.Random(seed), 8) if len(data) >= 8 else make_seeds()[seed % 4]
        return changed[:most]

    options = [f"-max_total_time={arguments.seconds:.0f}", f"-seed={arguments.seed + 1}", "-max_len=8192"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda data: check(path, data), custom_mutator=change)
    atheris.Fuzz()


def _wander(path: Path, arguments: argparse.Namespace) -> None:
    chance, seeds, count, accepted = random.Random(arguments.seed), make_seeds(), 0, 0
    end = time.monotonic() + arguments.seconds
    while time.monotonic() < end:
        data = mutate(chance.choice(seeds), chance, 8)
        count += 1
        try:
            read = check(path, data)
        except BaseException:
            print(f"after {count} executions: {data!r}", file=sys.stderr)
            raise
        if read is not None:
            accepted += 1
            if len(seeds) < 2000 and len(data) < 8192:
                seeds.append(data)
    print(f"{count} executions, {accepted} accepted files, nothing but ZooError escaped")


if __name__ == "__main__":
    main()
