"""The header of a weights file as a stranger may write it: refused by name on one line, or read as safetensors does."""

from __future__ import annotations

import ast
import base64
import copy
import gzip
import json
import os
import pickle
import random
import re
import struct
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from fuzz_header import TENSOR, check, make_metadata, make_seeds, mutate, pack
from hypothesis import given, settings
from hypothesis import strategies as st
from weights_files import DTYPES, refuse, rewrite

import zoo
from zoo.errors import WeightsError
from zoo.limits import MAX_GOLDEN, MAX_HEADER, MAX_METADATA, MAX_TENSORS
from zoo.records.forms import OPTIONAL, REQUIRED
from zoo.records.header import FORMAT, METADATA_BOUNDS, read_header
from zoo.records.metadata import read_metadata
from zoo_plugins.models.baseline import Baseline

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "plugins" / "zoo_plugins" / "weights" / "baseline-fashionmnist.safetensors"
PAGE = ROOT / "docs" / "reference" / "weights-format.md"
TEXT = json.dumps({"format": 1, "model": "m", "versions": {"zoo": "0.1.0"}})
SMALL = pack({"__metadata__": {"zoo": TEXT}, "a": TENSOR, "é": {**TENSOR, "data_offsets": [8, 16]}}, bytes(range(16)))
SMALL_START = 8 + struct.unpack("<Q", SMALL[:8])[0]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "w.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("header")


def put(path, data):
    path.write_bytes(data)
    return path


def pack_zoo(metadata, tensors=None):
    """Return a file with this as zoo's JSON: text as it is, anything else dumped."""
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    return pack({"__metadata__": {"zoo": text}, **(tensors or {})})


# Damage


def test_the_small_file_is_read(path):
    read = check(path, SMALL)
    assert list(read.tensors) == ["a", "é"]
    assert read.metadata == json.loads(TEXT)
    assert (read.data_start, read.size) == (SMALL_START, len(SMALL))


@pytest.mark.promise("P4")
def test_a_file_cut_anywhere_is_refused(path):
    for end in range(len(SMALL)):
        text = refuse(read_header, put(path, SMALL[:end]))
        expected = "it is empty" if not end else f"it has only {end} bytes" if end < 8 else "is incomplete"
        assert expected in text, end


@pytest.mark.promise("P4")
@pytest.mark.parametrize("more", [1, 2, 8, 5000])
def test_bytes_after_the_data_are_refused(more, path):
    text = refuse(read_header, put(path, SMALL + bytes(more)))
    assert f"has {more} extra bytes: expected {len(SMALL)} bytes, got {len(SMALL) + more}" in text


@pytest.mark.parametrize("length", [0, 1, 2**63, 2**63 - 1, 2**64 - 1, 2**32, MAX_HEADER + 1])
def test_a_length_no_header_has_is_refused(length, path):
    text = refuse(read_header, put(path, struct.pack("<Q", length) + SMALL[8:]))
    assert f"its header would be {length} bytes, expected 2 to {MAX_HEADER}" in text


@pytest.mark.parametrize("off", [-9, -8, -3, -2, -1, 1, 2, 3, 8, 9, 15, 16, 17, 1000, 10_000_000])
def test_a_length_that_is_off_is_refused(off, path):
    data = struct.pack("<Q", SMALL_START - 8 + off) + SMALL[8:]
    text = refuse(read_header, put(path, data))
    assert ("is incomplete" in text) == (off > 16)
    with pytest.raises(safetensors.SafetensorError):
        safetensors.deserialize(data)


@pytest.mark.promise("P4")
def test_each_flipped_bit_is_refused_or_read_as_safetensors_reads_it(path):
    accepted = 0
    for place in range(SMALL_START):
        for bit in range(8):
            data = bytearray(SMALL)
            data[place] ^= 1 << bit
            accepted += check(path, bytes(data)) is not None
    assert accepted, "a letter of a name may change"


# What JSON cannot say


ENTRY = json.dumps(TENSOR)
DAMAGED = {
    "a tensor twice": f'{{"w": {ENTRY}, "w": {ENTRY}}}',
    "metadata twice": f'{{"__metadata__": {{}}, "__metadata__": {{}}, "w": {ENTRY}}}',
    "an escaped key twice": f'{{"w": {ENTRY}, "\\u0077": {ENTRY}}}',
    "a key of a tensor twice": '{"w": {"dtype": "F32", "dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}',
    "a key of the metadata twice": '{"__metadata__": {"a": "", "a": ""}}',
    "a list": "[]",
    "null": "null",
    "a number": "17",
    "a list as metadata": '{"__metadata__": []}',
    "text as metadata": '{"__metadata__": "zoo"}',
    "null as metadata": '{"__metadata__": null}',
    "metadata of numbers": '{"__metadata__": {"zoo": 1}}',
    "metadata of tables": '{"__metadata__": {"zoo": {}}}',
    "cut JSON": "{x",
    "an open bracket": "{",
    "an open text": '{"w',
    "two values": "{}{}",
    "a comma too many": '{"__metadata__": {},}',
    "a comment": "{/**/}",
    "text as a tensor": '{"w": "x"}',
    "a list as a tensor": '{"w": []}',
    "nothing in a tensor": '{"w": {}}',
    "a tensor without dtype": '{"w": {"shape": [], "data_offsets": [0, 0]}}',
    "a key too many": json.dumps({"w": {**TENSOR, "strides": [1]}}),
    "NUL": "{}\0",
    "a name of control characters": json.dumps({"\x1b[2J": TENSOR}),
    "a name too long": json.dumps({"n" * 1001: TENSOR}),
    "half a pair": '{"\\ud800": ' + ENTRY + "}",
    "invalid UTF-8": b'{"w\xff": ' + ENTRY.encode() + b"}",
    "UTF-8 cut short": b'{"w\xc3": ' + ENTRY.encode() + b"}",
    "a slash in two bytes": b'{"w\xc0\xaf": ' + ENTRY.encode() + b"}",
    "UTF-16": "{}".encode("utf-16-le"),
    "brackets": '{"w": ' + "[" * 100_000,
    "pairs of brackets": '{"w": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "tables": '{"w": ' * 100_000,
    "many commas": '{"w": [' + "0," * 1_000_001 + "0]}",
    "many brackets": '{"w": [' + "[]" * 500_001 + "]}",
    "many texts": '{"w": [' + '""' * 1_000_001 + "]}",
}


@pytest.mark.promise("P4")
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_header_is_refused(name, path):
    text = refuse(read_header, put(path, pack(DAMAGED[name], bytes(8))))
    assert "is not a safetensors file: its header " in text
    assert len(text) < 1000, "what is shown is cut short"


@pytest.mark.promise("P4")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("many texts", "it holds too many texts"),
        ("many commas", "it holds too many values"),
        ("many brackets", "it holds too many values"),
    ],
)
def test_a_header_is_counted_before_it_is_parsed(name, text, path, monkeypatch):
    monkeypatch.setattr("zoo.records.header.json.loads", lambda *_, **__: pytest.fail("it was parsed"))
    assert refuse(read_header, put(path, pack(DAMAGED[name], bytes(8)))).endswith(f"{text}. Copy or download it again")


@pytest.mark.parametrize(
    "offsets",
    [
        *["[0]", "[]", "[0, 8, 8]", "[0, 1e400]", "[0, -1e400]", "[0, NaN]", "[NaN, NaN]", "[0, Infinity]", "[0, 8.0]"],
        *["[0, 8e0]", "[-0, 8]", "[-8, 0]", "[8, 0]", '["0", "8"]', "[false, 8]", "[null, 8]"],
        *["8", "null", "{}", '"08"'],
        *["[0, [8]]", f"[0, {'9' * 5000}]", f"[0, {2**64}]", f"[0, {2**64 + 8}]", f"[0, 8.{'0' * 5000}]", "[0, 08]"],
        *["[0, 0x8]", "[0, +8]", f"[{2**64 - 8}, {2**64}]"],
    ],
)
def test_offsets_that_are_no_two_whole_numbers_are_refused(offsets, path):
    header = f'{{"w": {{"dtype": "F32", "shape": [2], "data_offsets": {offsets}}}}}'
    assert "its header is damaged" in refuse(read_header, put(path, pack(header, bytes(8))))


@pytest.mark.parametrize(
    "shape",
    [
        *[None, 2, "2", {}, [2.0], ["2"], [True, 2], [-2], [-1, -2], [None], [3], [1], [], [2, 0], [2**64]],
        *[[2**32, 2**32], [2**62, 2], [2**63, 0], [1] * 65 + [2]],
    ],
)
def test_a_shape_that_does_not_fit_is_refused(shape, path):
    text = refuse(read_header, put(path, pack({"w": {**TENSOR, "shape": shape}}, bytes(8))))
    assert "its header is damaged: tensor 'w': expected" in text


@pytest.mark.parametrize(
    "dtype", [None, 3, "", "f32", "F31", "float32", "F64", "BF16", [], {}, True, "F32\0", "Q" * 5000]
)
def test_a_dtype_that_does_not_fit_is_refused(dtype, path):
    text = refuse(read_header, put(path, pack({"w": {**TENSOR, "dtype": dtype}}, bytes(8))))
    assert "its header is damaged: tensor 'w': expected" in text


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([[0, 8], [4, 12]], "expected its data to start at 8, got 4"),
        ([[0, 8], [0, 8]], "expected its data to start at 8, got 0"),
        ([[0, 8], [12, 20]], "expected its data to start at 8, got 12"),
        ([[4, 12]], "expected its data to start at 0, got 4"),
        ([[8, 16], [16, 24]], "expected its data to start at 0, got 8"),
        ([[0, 8], [8, 16], [16, 24]], "is incomplete"),
        ([[0, 4]], "expected 8 bytes for F32 [2], got 4"),
        ([[0, 16]], "expected 8 bytes for F32 [2], got 16"),
        ([[0, 8]], "extra bytes"),
    ],
)
def test_data_that_overlap_or_leave_holes_are_refused_as_safetensors_does(parts, text, path):
    data = pack({f"t{index}": {**TENSOR, "data_offsets": part} for index, part in enumerate(parts)}, bytes(16))
    assert text in refuse(read_header, put(path, data))
    with pytest.raises(safetensors.SafetensorError):
        safetensors.deserialize(data)


def test_the_order_of_tensors_is_that_of_their_data(path):
    header = {"a": {**TENSOR, "data_offsets": [8, 16]}, "b": TENSOR}
    assert list(read_header(put(path, pack(header, bytes(16)))).tensors) == ["b", "a"]


def test_headers_that_are_too_large_are_refused(path):
    assert read_header(put(path, pack("{}" + " " * (MAX_HEADER - 2)))).tensors == {}
    assert "its header would be 16000001 bytes" in refuse(read_header, put(path, pack("{}" + " " * (MAX_HEADER - 1))))
    empty = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    many = "{" + ",".join(f'"{index}":{empty}' for index in range(MAX_TENSORS + 1)) + "}"
    assert f"at most {MAX_TENSORS} tensors" in refuse(read_header, put(path, pack(many)))


# Foreign files


class Bomb:
    """A pickle of this makes a folder when somebody loads it."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def make_foreign(folder, trap):
    """Return files of other programs by what the message must say of them."""
    torch.save(Bomb(trap), folder / "new.pt")
    torch.save(Bomb(trap), folder / "old.pt", _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("weights.safetensors", SMALL)
    files = [
        ("it is empty", b""),
        ("it has only 7 bytes", b"\x02\0\0\0\0\0\0"),
        ("it is a PyTorch pickle archive, which can run code; zoo does not load it", (folder / "new.pt").read_bytes()),
        (
            "it is a PyTorch pickle of the old form, which can run code; zoo does not load it",
            (folder / "old.pt").read_bytes(),
        ),
        ("it is a zip archive", (folder / "a.zip").read_bytes()),
        ("it is a zip archive", b"PK\x05\x06" + bytes(18)),
        ("it is a web page: a failed download?", b"<!DOCTYPE html>\n<html><title>Not found</title></html>"),
        ("it is a web page: a failed download?", b"\xef\xbb\xbf\n <html><body>401</body></html>"),
        ("it is a web page: a failed download?", b"<?xml version='1.0'?><Error/>"),
        ("Run git lfs pull", b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 17\n"),
        ("it is a gzip file", gzip.compress(SMALL)),
        ("it is an HDF5 file", b"\x89HDF\r\n\x1a\n" + bytes(100)),
        ("it is JSON text", b'{"message": "Not Found", "status": 404}'),
        ("it is JSON text", b'[\n  "a", "b", "c"\n]'),
        ("it is plain text", b"Rate limit exceeded, try again\n"),
        ("it is plain text", "Zugriff für dich nicht möglich".encode()),
        ("its header would be", random.Random(0).randbytes(4000)),
        ("its header would be 0 bytes", bytes(5000)),
        ("its header does not begin with '{'", struct.pack("<Q", 100) + b"}" * 200),
    ]
    files += [
        ("it is a Python pickle, which can run code", pickle.dumps(Bomb(trap), protocol)) for protocol in range(6)
    ]
    files += [("it is a Python pickle", pickle.dumps({"w": [1.0]}, protocol)) for protocol in range(6)]
    return files


@pytest.mark.promise("P3")
def test_foreign_files_are_named_and_nothing_in_them_runs(path, tmp_path):
    trap = tmp_path / "trap"
    for said, data in make_foreign(tmp_path, trap):
        for read in (read_header, zoo.load):
            text = refuse(read, put(path, data))
            assert text.startswith(f"{path} is not a safetensors file: "), text
            assert said in text, data[:20]
    assert not trap.exists()
    pickle.loads(pickle.dumps(Bomb(trap)))
    assert trap.exists(), "the trap works"


def test_what_is_no_file_is_refused(path, tmp_path):
    assert "cannot be read: it is a folder, not a regular file" in refuse(read_header, tmp_path)
    assert "cannot be read: No such file" in refuse(read_header, path)
    assert "cannot be read" in refuse(read_header, path / "below")
    assert "cannot be read" in refuse(read_header, Path("a\0b"))
    assert "cannot be read" in refuse(read_header, tmp_path / "line\nbreak\x1b[2J")
    assert "cannot be read" in refuse(read_header, tmp_path / ("n" * 5000))
    path.symlink_to(path)
    assert "cannot be read" in refuse(read_header, path)
    assert "cannot be read: it is a device, not a regular file" in refuse(read_header, Path(os.devnull))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_without_waiting_for_its_other_end(path):
    os.mkfifo(path)
    said = []
    thread = threading.Thread(target=lambda: said.append(refuse(read_header, path)), daemon=True)
    thread.start()
    thread.join(10)
    assert said, "it waits"
    assert "it is a pipe, not a regular file" in said[0]


def test_reading_a_header_imports_nothing_heavy():
    code = """
        import sys
        from pathlib import Path
        from zoo.records.header import read_header
        from zoo.records.metadata import read_metadata
        path = Path(sys.argv[1])
        read_metadata(path, read_header(path).metadata)
        print(*sys.modules)
    """
    command = [sys.executable, "-c", re.sub(r"^ +", "", code, flags=re.MULTILINE), str(SHIPPED)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    heavy = {"torch", "numpy", "safetensors", "pickle", "_pickle", "PIL"}
    assert not heavy & set(done.stdout.split())


# Zoo's own metadata


@pytest.mark.promise("P14")
def test_a_newer_format_is_refused_by_number_with_advice(path):
    data = pack_zoo({"format": FORMAT + 1, "versions": {"zoo": "9.1"}, "new": [[{}]]})
    text = refuse(read_header, put(path, data))
    known = f"this zoo reads up to {FORMAT}"
    assert text == f"{path} has format {FORMAT + 1} of zoo 9.1: {known}. Upgrade: pip install -U zoo-torch"
    for versions in (..., None, [], {}, {"zoo": 3}, {"zoo": "\x1b[2J\n"}):
        metadata = {"format": 10**20} if versions is ... else {"format": 10**20, "versions": versions}
        assert f"has format {10**20}" in refuse(read_header, put(path, pack_zoo(metadata)))


@pytest.mark.parametrize("number", [..., None, "1", 1.0, 1.5, 0, -1, True, [], [1], {}])
def test_a_format_that_is_no_whole_number_is_refused(number, path):
    metadata = make_metadata(format=number)
    text = refuse(read_header, put(path, pack_zoo(metadata)))
    assert "its metadata is damaged: format: expected a whole number of at least 1" in text


@pytest.mark.parametrize(
    "text",
    [
        *[
            "",
            " ",
            "{x",
            "[]",
            "null",
            "17",
            '"zoo"',
            '{"format": 1, "format": 1}',
            '{"format": 1, "a": {"b": 1, "b": 2}}',
        ],
        *['{"format": 1, "a": NaN}', '{"format": 1, "a": -Infinity}', '{"format": 1, "a": 1e400}', '{"format": -0}'],
        *['{"format": 1, "a": %s}' % ("9" * 5000), '{"format": 1, "a": "\\ud800"}', '{"format": 1} {}'],
        *[
            '{"format": 1, "a": ' + "[" * 100_000,
            '{"a": ' + "[" * METADATA_BOUNDS.depth + "]" * METADATA_BOUNDS.depth + ', "format": 1}',
        ],
    ],
)
def test_damaged_metadata_is_refused(text, path):
    assert "cannot be used: its metadata is damaged: " in refuse(read_header, put(path, pack_zoo(text)))


def test_metadata_that_is_too_large_is_refused(path):
    start = '{"format": 1, "note": "'
    for more in (0, 1):
        text = start + "é" * ((MAX_METADATA - len(start) - 2) // 2)
        text += "x" * (MAX_METADATA - len(text.encode()) - 2 + more) + '"}'
        put(path, pack_zoo(text))
        if not more:
            assert read_header(path).metadata["format"] == 1
    assert f"its metadata is damaged: expected at most {MAX_METADATA} bytes" in refuse(read_header, path)


def test_metadata_may_nest_as_deep_as_the_limit(path):
    text = '{"a": ' + "[" * (METADATA_BOUNDS.depth - 1) + "]" * (METADATA_BOUNDS.depth - 1) + ', "format": 1}'
    assert read_header(put(path, pack_zoo(text))).metadata["format"] == 1


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {"other": '{"format": 99}'}])
def test_a_file_of_another_program_has_no_metadata_of_zoo(metadata, path):
    safetensors.torch.save_file({"w": torch.ones(2)}, path, metadata=metadata)
    read = read_header(path)
    assert read.metadata == {}
    assert list(read.tensors) == ["w"]
    for refused in (lambda: read_metadata(path, read.metadata), lambda: zoo.load(path)):
        assert "was not written by zoo: its metadata names no model" in refuse(refused)


GOOD = make_metadata(
    recipe={"name": "short", "plugin": {"name": "p", "version": "1", "source": "installed"}, "changed": ["train.lr"]},
    init={"path": "/a/b.safetensors", "digest": "0" * 64},
    adapted_from={"path": "/a/b.safetensors", "digest": "0" * 64},
    converted_from={"path": "/a/b.safetensors", "digest": "0" * 64, "model": "plugin/net"},
    features={"layer": "head", "width": 4},
    published={
        **{"name": "net.one", "plugin": {"name": "plugin"}, "license": "MIT", "homepage": "https://x.org"},
        **{"source": "https://x.org/net.bin", "sha256": "0" * 64, "metrics": {"accuracy": 0.5}},
    },
    frozen=["layer_stack.0.*"],
)


def put_in(metadata, key, value):
    """Return a copy with a value under a dotted key; `...` removes it."""
    changed = copy.deepcopy(metadata)
    *tables, last = key.split(".")
    table = changed
    for name in tables:
        table = table[int(name) if isinstance(table, list) else name]
    if value is ...:
        del table[last]
    else:
        table[int(last) if isinstance(table, list) else last] = value
    return changed


def test_good_metadata_passes_with_and_without_what_is_optional():
    path = Path("w")
    assert GOOD.keys() == {"format", *REQUIRED, *OPTIONAL}
    read_metadata(path, GOOD)
    read_metadata(path, {**GOOD, "unknown": [1, {}]})
    read_metadata(path, put_in(GOOD, "golden.stride", ...))
    for key in OPTIONAL:
        read_metadata(path, put_in(GOOD, key, ...))
        read_metadata(path, put_in(GOOD, key, None))
    read_metadata(path, {key: value for key, value in GOOD.items() if key not in OPTIONAL})


@pytest.mark.parametrize("key", REQUIRED)
@pytest.mark.parametrize("value", [..., None, True, 3, 0.5, [], [None], {}, {"a": 1}, [[]], ""])
def test_what_is_required_is_checked_by_name(key, value):
    if key == "params" and isinstance(value, dict):
        read_metadata(Path("w"), put_in(GOOD, key, value))
        return
    text = refuse(read_metadata, Path("w"), put_in(GOOD, key, value))
    if key == "model" and value is ...:
        assert "was not written by zoo" in text
    else:
        assert f"w cannot be used: its metadata is wrong: {key}: expected " in text


WRONG = {
    "image": [3, [], {}, "x"],
    "image.shape": [..., None, [], [0], [1.0], "1", [2**31 + 1], [2**16, 2**16], [1] * 65],
    "image.dtype": [..., None, "float31", "torch.uint8", 8, []],
    "image.range": [..., None, [0], [0, 1, 2], [1, 0], ["0", "1"], [None, None], [False, True], 3],
    "plugin.name": [..., None, "", "-r x", "a b", "../x", "A", "a" * 65, "a;b", 3],
    "plugin.version": [..., None, 1, []],
    "plugin.source": [..., None, 1, {}],
    "model": ["Baseline", "a/b", "a\x1b", "a" * 65, "os.system('x')"],
    "input_shape": [[0, 2, 2], [-1], [1.0, 2, 2], [True, 2, 2], [2**31 + 1], [2**40, 2**40], [1] * 65],
    "class_names": [[1], ["a", None], "ab", {"a": 0}],
    "init": ["x", {}, {"path": "x"}, {"path": 1, "digest": ""}],
    "adapted_from": ["x", {}, {"digest": "x"}],
    "features": ["x", {}, {"layer": "head"}, {"layer": 1, "width": 4}, {"layer": "head", "width": 0}],
    "published": ["x", {}, {"name": "n"}, {"name": "n", "plugin": {"name": "p"}, "license": 3}],
    "converted_from": ["x", {}, {"path": "x", "digest": "x"}, {"path": "x", "digest": "x", "model": 1}],
    "frozen": ["*", {}, [1], [None]],
    "recipe": ["short", {}, [1], {"name": "short"}, {"name": "../x", "plugin": {"name": "p"}}],
    "recipe.changed": ["train.lr", [1]],
    "dataset": ["pets", {}, {"name": None}, {"name": 3}],
    "metrics": [0.5, [], {"accuracy": "high"}, {"accuracy": True}, {"accuracy": [0.5]}],
    "train_config": [3, [], "x"],
    "seed": ["42", 4.2, True, []],
    "device": [0, [], {}],
    "threads": [0, -1, 1.0, True, "1"],
    "versions": [[], "0.1", {"zoo": 1}, {"zoo": None}],
    "digests": [[], "0" * 64, {"tensors": "0" * 63}, {"tensors": "G" * 64}, {"tensors": "A" * 64}, {"tensors": None}],
    "statistics": [[], 3, {}],
    "statistics.low": [..., None, "0", True],
    "statistics.high": [..., None, []],
    "statistics.mean": [..., None, 0.1, [0.1], [0.1, None], [0.1, 0.2, 0.3]],
    "statistics.contrast": [..., None, {}, [True, False]],
    "golden": [[], 3, "x", {}],
    "golden.dtype": [..., None, "uint9", "float32", "uint16", []],
    "golden.shape": [..., None, [], [8], [2, 4], [2, 1, 2, 3], [1, 1, 2, 2], [3, 1, 2, 2], [2, 1, 1, 2], [0, 1, 2, 2]],
    "golden.stride": [0, -1, 1.0, None, True, 2, 3, 2**60],
    "golden.images": [..., None, 3, "", "AAAA", "A", "!!!!", "é" * 12, base64.b64encode(bytes(9)).decode()],
    "golden.probabilities": [..., None, {}, [], [[0.5, 0.5]], [[0.5, 0.5]] * 3, [0.5, 0.5], [[1.0], [1.0]]],
    "golden.probabilities.0": [[0.5, 0.4], [1.5, -0.5], [True, False], [None, 1], ["0", "1"], [0.2, 0.3, 0.5], {}, []],
    "golden.labels": [..., None, [], ["dog"], ["dog", "cow"], ["dog", None], ["dog"] * 3, "dog"],
}


@pytest.mark.parametrize("key", WRONG)
def test_a_wrong_form_is_refused_and_named(key):
    for value in WRONG[key]:
        text = refuse(read_metadata, Path("w"), put_in(GOOD, key, value))
        assert f"w cannot be used: its metadata is wrong: {key.partition('.')[0]}: " in text, value
        assert len(text) < 1000


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image": {"shape": [1, 3, 3], "dtype": "uint8", "range": [0, 255]}}, "image: expected preprocess to make"),
        ({"image": {"shape": [3, 2, 2], "dtype": "uint8", "range": [0, 255]}}, "image: expected preprocess to make"),
        ({"input_shape": [1, 2, 3]}, "image: expected preprocess to make [1, 2, 3] of it, got [1, 2, 2]"),
        ({"input_shape": [3, 2, 2]}, "preprocess: expected mean and std of 3 channels, got 1"),
    ],
)
def test_images_that_do_not_become_inputs_are_refused(changes, said):
    assert said in refuse(read_metadata, Path("w"), {**GOOD, **changes})


@pytest.mark.parametrize(
    "steps",
    [
        *({"scale": value} for value in (0, -1, "x", [], {})),
        *({"channels": value} for value in (2, 3, 0, "1", [])),
        *({"resize": value} for value in (2, 2.0, [2], [2, 0], [-1, -1], [2.0, 2.0], [4, 4], "22", [2, 2, 2])),
        *({"mean": value} for value in (None, [], [0.5, 0.5], ["x"], 0.5, [None])),
        *({"std": value} for value in (None, [0], [-1], ["x"], 3)),
        {"mean": [0.5] * 3, "std": [0.5] * 3},
        *({"crop": value} for value in (3, [2], [0, 2], [2, 3], [2.0, 2.0], "22")),
        *({"interpolation": value} for value in (None, "lanczos", 1, [])),
        {"resize": 2, "crop": [2, 3]},
        {"sharpen": 3},
    ],
)
def test_preprocessing_that_does_not_exist_is_refused(steps):
    text = refuse(read_metadata, Path("w"), {**GOOD, "preprocess": {**GOOD["preprocess"], **steps}})
    assert "its metadata is wrong: " in text


@pytest.mark.promise("P14")
def test_format_1_has_neither_crop_nor_interpolation_nor_a_resize_of_one_side():
    later = {"interpolation", "crop"}
    first = {key: value for key, value in GOOD["preprocess"].items() if key not in later}
    read = read_metadata(Path("w"), {**GOOD, "format": 1, "preprocess": first})
    assert (read.format, read.preprocess.crop, read.preprocess.interpolation) == (1, None, "bilinear")
    assert read_metadata(Path("w"), {**GOOD, "preprocess": first}).preprocess == read.preprocess
    for steps in ({"crop": None}, {"interpolation": "bilinear"}, {"resize": 2}):
        text = refuse(read_metadata, Path("w"), {**GOOD, "format": 1, "preprocess": {**first, **steps}})
        assert "its metadata is wrong: preprocess: expected what format 1 has" in text


def test_what_is_typical_of_a_sample_has_its_form():
    typical = {"centre": [0.1, 0.2, 0.3], "precision": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "limit": 16.27}
    good = put_in(put_in(GOOD, "statistics.typical", typical), "statistics.warned", {"clean": 0.01})
    found = read_metadata(Path("w"), good).statistics
    assert found is not None and found.typical is not None and found.typical.precision[0] == (1, 0, 0)
    assert found.warned == {"clean": 0.01}
    wrong = [
        *(("typical", value) for value in (3, [], {}, {"centre": [0.1]})),
        *(("typical.centre", value) for value in (..., None, [0.1, 0.2], [1] * 4, ["a"] * 3)),
        *(("typical.precision", value) for value in (..., [], [[1, 0], [0, 1]], [[1, 0, 0]] * 2, [1, 2, 3])),
        *(("typical.limit", value) for value in (..., None, "1")),
        *(("warned", value) for value in (3, [], {"clean": "x"})),
    ]
    for key, value in wrong:
        text = refuse(read_metadata, Path("w"), put_in(good, f"statistics.{key}", value))
        assert "its metadata is wrong: statistics: expected" in text, (key, value)


@pytest.mark.parametrize("key", ["scale", "channels", "resize", "mean", "std"])
def test_each_step_of_preprocessing_is_stated(key):
    assert "preprocess: expected a table of" in refuse(read_metadata, Path("w"), put_in(GOOD, f"preprocess.{key}", ...))


def test_golden_samples_that_are_too_large_are_refused():
    count = MAX_GOLDEN // 4
    golden = {
        **{"dtype": "uint8", "shape": [1, 1, 1, count * 3], "labels": ["cat"]},
        **{"images": base64.b64encode(bytes(count * 3)).decode(), "probabilities": [[1.0, 0.0]]},
    }
    shape = golden["shape"][1:]
    image = {"shape": shape, "dtype": "uint8", "range": [0, 255]}
    text = refuse(read_metadata, Path("w"), {**GOOD, "input_shape": shape, "image": image, "golden": golden})
    assert f"golden: expected at most {MAX_GOLDEN} bytes" in text


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    sizes = {"train_size": 64, "test_size": 32}
    return zoo.run(dataset_params=sizes, epochs=0, runs_dir=tmp_path_factory.mktemp("runs")).weights


def test_what_a_run_writes_passes(written, path):
    read = check(path, written.read_bytes())
    assert read is not None
    read_metadata(written, read.metadata)
    assert read.metadata["format"] == FORMAT
    rewrite(path)
    assert read_header(path).metadata == read.metadata, "other writers keep it"


# Any file


NAMES = st.text(min_size=1, max_size=12).filter(lambda name: name.isprintable() and name != "__metadata__")


@pytest.mark.slow
@settings(max_examples=150)
@given(
    st.dictionaries(NAMES, st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=4)), max_size=6),
    st.dictionaries(st.text(max_size=5).filter(lambda key: key != "zoo"), st.text(max_size=20), max_size=3),
)
def test_whatever_safetensors_saves_reads_the_same(folder, entries, texts):
    tensors = {name: torch.ones(shape).to(dtype) for name, (dtype, shape) in entries.items()}
    # Of no tensors and an empty table safetensors makes a header that it cannot read itself.
    read = check(folder / "saved.safetensors", safetensors.torch.save(tensors, texts if tensors or texts else None))
    assert read is not None
    assert {name: entry.shape for name, entry in read.tensors.items()} == {
        name: tuple(tensor.shape) for name, tensor in tensors.items()
    }


def survive(path, data):
    """Read and check the data; only a WeightsError may escape, on one line."""
    put(path, data)
    try:
        read_metadata(path, read_header(path).metadata)
    except WeightsError as error:
        assert str(error).isprintable()


@pytest.mark.promise("P4")
@settings(max_examples=400)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=3))
def test_a_few_changed_bytes_raise_nothing_else(folder, edits):
    data = bytearray(make_seeds()[2])
    for place, value in edits:
        data[int(place * len(data))] = value
    survive(folder / "edited.safetensors", bytes(data))


def test_thousands_of_small_changes_raise_nothing_else(path):
    chance, seeds = random.Random(1), make_seeds()
    for _ in range(3000):
        check(path, mutate(chance.choice(seeds), chance, 3))


# The page


def read_block():
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return block


def test_the_second_reader_of_the_page_stands_alone():
    tree = ast.walk(ast.parse(read_block()))
    imported = {alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"json", "struct", "sys", "torch"}
    assert "import_" not in read_block() and "from " not in read_block()


def ask_second_reader(weights, image, tmp_path, monkeypatch, capsys):
    """Return what the reader on the page prints for a raw image: the label and its probability."""
    raw = put(tmp_path / "image.raw", image.numpy().tobytes())
    monkeypatch.setattr(sys, "argv", ["reader.py", str(weights), str(raw)])
    exec(compile(read_block(), str(PAGE), "exec"), {"__name__": "__main__"})
    label, probability = capsys.readouterr().out.rsplit(maxsplit=1)
    return label, float(probability)


def test_the_second_reader_of_the_page_gives_zoos_answer(tmp_path, monkeypatch, capsys):
    golden = read_header(SHIPPED).metadata["golden"]
    stored = torch.frombuffer(bytearray(base64.b64decode(golden["images"])), dtype=torch.uint8).view(golden["shape"])
    for image, prediction in zip(stored, zoo.load(SHIPPED)(stored), strict=True):
        label, probability = ask_second_reader(SHIPPED, image, tmp_path, monkeypatch, capsys)
        assert label == prediction.label
        assert probability == pytest.approx(prediction.probability, abs=1e-4)


@pytest.mark.parametrize(
    ("steps", "shape"),
    [
        ({"mean": (0.3,), "std": (0.2,)}, (1, 28, 28)),
        ({"scale": 100.0, "channels": 3, "mean": (0.1, 0.2, 0.3), "std": (0.5, 1.0, 2.0)}, (3, 28, 28)),
        ({"resize": (13, 17), "channels": 3}, (3, 13, 17)),
        ({"resize": 40, "crop": (31, 34), "interpolation": "bicubic"}, (1, 31, 34)),
        ({"resize": (50, 20), "interpolation": "nearest", "mean": (0.3,), "std": (0.2,)}, (1, 50, 20)),
        ({"crop": (13, 26)}, (1, 13, 26)),
    ],
)
def test_the_second_reader_of_the_page_takes_each_step(steps, shape, path, tmp_path, monkeypatch, capsys):
    torch.manual_seed(3)
    module = Baseline(input_shape=shape, num_classes=3, hidden_units=4)
    images = torch.randint(0, 256, (8, 1, 28, 28), dtype=torch.uint8)
    facts = {"params": {"hidden_units": 4}, "class_names": ["a b", "c", "d"], "input_shape": shape}
    zoo.save(module, path, model="baseline", preprocess=zoo.Preprocess(**steps), images=images, **facts)
    for image, prediction in zip(images, zoo.load(path)(images), strict=True):
        label, probability = ask_second_reader(path, image, tmp_path, monkeypatch, capsys)
        assert label == prediction.label
        assert probability == pytest.approx(prediction.probability, abs=1e-4)


def test_the_page_describes_each_key_and_states_the_limits():
    text = PAGE.read_text(encoding="utf-8")
    for key in ("format", *REQUIRED, *OPTIONAL):
        assert f"\n| `{key}` |" in text, key
    for number in (MAX_HEADER, MAX_METADATA, MAX_TENSORS):
        assert f"{number:,}" in text
