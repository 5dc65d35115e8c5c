from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import zoo
from zoo import weights
from zoo.errors import PluginError, StorageError, WeightsError
from zoo.weights import FILE_NAME, FORMAT, find_weights, read_header, save_weights

# What safetensors has a name for.
DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.uint16,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
]


class Plain(nn.Module):
    """A module with given buffers, as any program would write it."""

    def __init__(self, **buffers):
        super().__init__()
        for name, value in buffers.items():
            self.register_buffer(name, value)


class Odd(nn.Module):
    """Tied and non-contiguous parameters, a buffer without axes, one without elements, other dtypes."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight
        self.turned = nn.Parameter(torch.randn(3, 5).t())
        self.norm = nn.BatchNorm1d(4)
        self.low = nn.Parameter(torch.randn(2, 2).half())
        self.register_buffer("scale", torch.tensor(2.5))
        self.register_buffer("nothing", torch.zeros(0, 3))
        self.register_buffer("steps", torch.tensor([2**62, -1]))
        self.register_buffer("part", torch.arange(12.0).view(3, 4)[:, 1:3])
        self.register_buffer("hidden", torch.ones(2), persistent=False)


def save(path, model, /, **metadata):
    save_weights(path, model, metadata)
    return path


def same_bits(left, right):
    raw = [tensor.detach().contiguous().reshape(-1).view(torch.uint8) for tensor in (left, right)]
    return left.dtype == right.dtype and left.shape == right.shape and torch.equal(*raw)


def write(path, header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def refuse(read, *arguments):
    with pytest.raises(WeightsError) as caught:
        read(*arguments)
    assert caught.value.exit_code == 4
    assert str(caught.value).isprintable(), "one line without control characters"
    return str(caught.value)


def test_odd_state_dicts_survive_bit_for_bit(tmp_path):
    torch.manual_seed(1)
    model = Odd()
    path = save(tmp_path / "w.safetensors", model)
    tensors = safetensors.torch.load_file(path)
    assert set(tensors) == set(model.state_dict())
    assert "hidden" not in tensors
    torch.manual_seed(2)
    other = Odd()
    other.load_state_dict(tensors)
    for name, value in model.state_dict().items():
        assert same_bits(value, other.state_dict()[name]), name
    assert other.head.weight is other.embed.weight, "still tied"
    metadata, table = read_header(path)
    assert metadata == {"format": FORMAT}
    assert {name: tuple(entry["shape"]) for name, entry in table.items()} == {
        name: tuple(value.shape) for name, value in model.state_dict().items()
    }


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.text("abcdefgh_ä ", min_size=1, max_size=8),
        st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=3), st.integers(0, 2**32)),
        max_size=5,
    )
)
def test_any_state_dict_survives_bit_for_bit(tmp_path_factory, entries):
    buffers = {}
    for name, (dtype, shape, seed) in entries.items():
        generator = torch.Generator().manual_seed(seed)
        size = torch.Size(shape).numel() * torch.empty((), dtype=dtype).element_size()
        # Any bits, NaN with payloads included; bool knows two only.
        raw = torch.randint(2 if dtype == torch.bool else 256, (size,), generator=generator).to(torch.uint8)
        buffers[f"b_{name}"] = raw.view(dtype).reshape(shape)
    path = save(tmp_path_factory.mktemp("any") / "w.safetensors", Plain(**buffers))
    tensors = safetensors.torch.load_file(path)
    assert set(tensors) == set(buffers)
    assert all(same_bits(tensors[name], value) for name, value in buffers.items())
    assert set(read_header(path)[1]) == set(buffers)


def test_metadata_comes_back_as_it_was(tmp_path):
    metadata = {"model": "m", "names": ["T-shirt/top", "日本", '"\n\x1b'], "n": None, "x": 0.1, "big": 2**60, "t": {}}
    found, _ = read_header(save(tmp_path / "w.safetensors", Plain(a=torch.ones(2)), **metadata))
    assert found == {"format": FORMAT, **metadata}


def test_the_same_weights_give_the_same_bytes(tmp_path):
    torch.manual_seed(1)
    model = Odd()
    one, other = (save(tmp_path / f"{name}.safetensors", model, model="m").read_bytes() for name in "ab")
    assert one == other


def test_saving_changes_nothing_in_the_model(tmp_path):
    model = Odd().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    save(tmp_path / "w.safetensors", model)
    assert all(same_bits(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert model.head.weight is model.embed.weight
    assert not model.turned.is_contiguous()


class Extra(nn.Linear):
    def get_extra_state(self):
        return {"calls": 3}

    def set_extra_state(self, state):
        pass


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (Extra(2, 2), "state '_extra_state' is a dict, not a tensor"),
        (Plain(a=torch.eye(3).to_sparse()), "a safetensors file cannot hold 'a' (torch.sparse_coo torch.float32)"),
        (Plain(a=torch.ones(2, dtype=torch.complex128)), "cannot hold 'a' (torch.strided torch.complex128)"),
    ],
)
def test_what_cannot_be_saved_is_named_and_leaves_the_old_file(model, text, tmp_path):
    path = save(tmp_path / "w.safetensors", Plain(a=torch.ones(2)))
    old = path.read_bytes()
    assert text in refuse(save_weights, path, model, {})
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_is_missing_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="cannot save weights to"):
        save_weights(tmp_path / "gone" / "w.safetensors", Plain(a=torch.ones(2)), {})


@pytest.fixture
def small(tmp_path):
    return save(tmp_path / "small.safetensors", Plain(a=torch.arange(3.0), b=torch.tensor(1)), model="m")


def test_a_file_cut_at_any_byte_is_refused(small):
    whole = small.read_bytes()
    read_header(small)
    for size in range(len(whole)):
        small.write_bytes(whole[:size])
        text = refuse(read_header, small)
        assert "is incomplete" in text or "is not a safetensors file" in text
    assert text == f"{small} is incomplete: expected {len(whole)} bytes, got {size}. Copy or download it again"


@pytest.mark.parametrize("extra", [b"\0", b"more", b"\0" * 4096])
def test_trailing_bytes_are_refused(small, extra):
    small.write_bytes(small.read_bytes() + extra)
    assert "is incomplete: expected" in refuse(read_header, small)


@pytest.mark.parametrize("length", [0, 1, 2**63, 2**64 - 1, 100_000_001, 16_000_001, 2**31])
def test_a_header_length_that_lies_is_refused(small, length):
    small.write_bytes(struct.pack("<Q", length) + small.read_bytes()[8:])
    assert f"its header would be {length} bytes" in refuse(read_header, small)


def test_a_header_length_a_little_off_is_refused(small):
    whole = small.read_bytes()
    true = struct.unpack("<Q", whole[:8])[0]
    for off in (-100, -8, -1, 1, 8):
        small.write_bytes(struct.pack("<Q", true + off) + whole[8:])
        refuse(read_header, small)


def test_no_changed_header_gets_further_than_a_refusal(small):
    whole = small.read_bytes()
    end = 8 + struct.unpack("<Q", whole[:8])[0]
    for position in range(end):
        for bit in (1, 32, 128):
            changed = bytearray(whole)
            changed[position] ^= bit
            small.write_bytes(changed)
            try:
                read_header(small)
            except WeightsError as error:
                assert str(error).isprintable()


TENSOR = '{"dtype": "F32", "shape": [], "data_offsets": [0, 4]}'


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (f'{{"w": {TENSOR}, "w": {TENSOR}}}', "a key appears twice"),
        ('{"__metadata__": {"zoo": "{}"}, "__metadata__": {"zoo": "{}"}}', "a key appears twice"),
        ('{"__metadata__": {"zoo": "{\\"a\\": 1, \\"a\\": 2}"}}', "a key appears twice"),
        ("[]", "its metadata is no table"),
        ("null", "its metadata is no table"),
        ("17", "its metadata is no table"),
        ('{"__metadata__": []}', "its metadata is no table"),
        ('{"__metadata__": {"zoo": "[]"}}', "its metadata is no table"),
        ('{"__metadata__": {"zoo": 5}}', "TypeError"),
        ('{"__metadata__": {"zoo": "{"}}', "JSONDecodeError"),
        ("{x", "JSONDecodeError"),
        ('{"w": "x"}', "TypeError"),
        ('{"w": {}}', "KeyError"),
        ('{"w": {"data_offsets": [0]}}', "IndexError"),
        ('{"w": {"data_offsets": [0, 1e400]}}', "OverflowError"),
        ('{"w": {"data_offsets": [0, NaN]}}', "ValueError"),
        (f'{{"w": {{"data_offsets": [0, {"9" * 5000}]}}}}', "ValueError"),
        ("[" * 100_000, "RecursionError"),
        (b'{"\xff": 1}', "UnicodeDecodeError"),
    ],
)
def test_a_damaged_header_is_refused(header, text, tmp_path):
    header = header if isinstance(header, bytes) else header.encode()
    refusal = refuse(read_header, write(tmp_path / "w.safetensors", header, bytes(4)))
    assert "is not a safetensors file: its header is damaged" in refusal
    assert text in refusal


class Evil:
    def __reduce__(self):
        return os.mkdir, (os.environ["EVIL"],)


def make_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil()))


FOREIGN = {
    "empty": lambda path: path.write_bytes(b""),
    "seven bytes": lambda path: path.write_bytes(b"1234567"),
    "pickle": lambda path: path.write_bytes(pickle.dumps(Evil())),
    "zip": make_zip,
    "torch": lambda path: torch.save({"w": torch.ones(3)}, path),
    "web page": lambda path: path.write_text("<!DOCTYPE html><html><body>Sign in</body></html>"),
    "pointer": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
    "gzip": lambda path: path.write_bytes(b"\x1f\x8b\x08\0" + bytes(60)),
    "text": lambda path: path.write_text("hello" * 20),
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_other_files_are_refused_and_nothing_of_them_runs(make, tmp_path, monkeypatch):
    monkeypatch.setenv("EVIL", str(tmp_path / "evil"))
    path = tmp_path / "w.safetensors"
    make(path)
    for read in (read_header, zoo.load_model):
        assert f"{path} is not a safetensors file" in refuse(read, path)
    assert not (tmp_path / "evil").exists()


def test_a_folder_means_the_weights_in_it(small, tmp_path):
    assert "no such file" in refuse(find_weights, tmp_path)
    shutil.copy(small, tmp_path / FILE_NAME)
    assert find_weights(tmp_path) == find_weights(str(tmp_path)) == tmp_path / FILE_NAME
    assert find_weights(small) == small


def test_what_is_no_file_is_refused(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder" / FILE_NAME).mkdir(parents=True)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    names = ["pipe", "folder", "loop", "missing", "missing/too", "x" * 5000, "a\0b", "a\n\x1b[31mb"]
    for reference in [*(tmp_path / name for name in names), "~nobody-of-this-name/w", "", "/dev/null"]:
        text = refuse(find_weights, reference)
        assert text.startswith("no weights at ")
        assert text.endswith("Give a .safetensors file or a run folder")
    assert "cannot be read: IsADirectoryError" in refuse(read_header, tmp_path)
    assert "cannot be read: FileNotFoundError" in refuse(read_header, tmp_path / "missing")


def test_a_newer_format_is_refused_by_its_number(tmp_path):
    for number in (FORMAT + 1, 10**6, "2", None, 1.5):
        path = save(tmp_path / "w.safetensors", Plain(a=torch.ones(2)), format=number)
        text = refuse(read_header, path)
        assert f"has format {number!r}: this zoo reads up to {FORMAT}. Upgrade: pip install" in text
        assert refuse(zoo.load_model, path) == text


def test_a_file_of_another_program_is_readable_and_not_loadable(tmp_path):
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file({"w": torch.ones(3)}, path)
    metadata, table = read_header(path)
    assert metadata == {}
    assert list(table) == ["w"]
    assert "was not written by zoo: its metadata names no model" in refuse(zoo.load_model, path)
    safetensors.torch.save_file({"w": torch.ones(3)}, path, metadata={"format": "pt"})
    assert read_header(path)[0] == {}


def test_reading_a_header_imports_no_torch(small):
    code = (
        "import sys; from pathlib import Path; from zoo.weights import read_header;"
        "print(read_header(Path(sys.argv[1]))[0]['model'], {'torch', 'numpy', 'safetensors'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, small], check=True, capture_output=True, text=True)
    assert done.stdout == "m set()\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    sizes = {"train_size": 320, "test_size": 100}
    return zoo.run(dataset_params=sizes, epochs=1, runs_dir=tmp_path_factory.mktemp("runs")).weights


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copy(trained, tmp_path / "copy.safetensors")


def rewrite(path, change_tensors=lambda tensors: None, change_metadata=lambda metadata: None):
    """Change a weights file and write it anew with plain safetensors."""
    metadata, _ = read_header(path)
    tensors = dict(safetensors.torch.load_file(path, backend="pread"))
    change_tensors(tensors)
    change_metadata(metadata)
    safetensors.torch.save_file(tensors, path, metadata={"zoo": json.dumps(metadata)})


def test_a_trained_model_loads_bit_for_bit(trained):
    model = zoo.load_model(trained)
    tensors = safetensors.torch.load_file(trained)
    assert not model.training
    assert set(tensors) == set(model.state_dict())
    assert all(same_bits(value, tensors[name]) for name, value in model.state_dict().items())
    other = zoo.load_model(trained.parent)
    inputs = torch.rand(5, 1, 28, 28)
    assert torch.equal(model(inputs), other(inputs))


def test_loading_leaves_the_random_state_alone(trained):
    state = torch.get_rng_state()
    zoo.load_model(trained)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_file_rewritten_while_it_is_read_changes_nothing(copy, monkeypatch):
    expected = safetensors.torch.load(copy.read_bytes())
    check = weights._check_tensors

    def rewrite_first(path, *arguments):
        # In place, as some programs write: the same file, other bytes.
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
        check(path, *arguments)

    monkeypatch.setattr(weights, "_check_tensors", rewrite_first)
    model = zoo.load_model(copy)
    assert set(copy.read_bytes()) == {0}
    assert all(same_bits(value, expected[name]) for name, value in model.state_dict().items())


WEIGHT, BIAS = "layer_stack.1.weight", "layer_stack.2.bias"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: t.pop(BIAS), f"lacks 1 of 4 tensors: the first is '{BIAS}'"),
        (dict.clear, "lacks 4 of 4 tensors: the first is 'layer_stack.1.weight'"),
        (lambda t: t.update(more=torch.ones(1)), "has unexpected 1 of 4 tensors: the first is 'more'"),
        (
            lambda t: t.update({WEIGHT: t[WEIGHT][:, :7].clone()}),
            f"tensor '{WEIGHT}': (10, 7) torch.float32 in the file, (10, 784) torch.float32 in the model",
        ),
        (lambda t: t.update({WEIGHT: t[WEIGHT].t().contiguous()}), f"tensor '{WEIGHT}': (784, 10)"),
        (lambda t: t.update({BIAS: t[BIAS].double()}), f"tensor '{BIAS}': (10,) torch.float64 in the file"),
        (lambda t: t.update({BIAS: t[BIAS].half()}), f"tensor '{BIAS}': (10,) torch.float16 in the file"),
        (lambda t: t.update({BIAS: t[BIAS].to(torch.complex64)}), f"tensor '{BIAS}': (10,) torch.complex64"),
        (lambda t: t.update({BIAS: t[BIAS][:, None].clone()}), f"tensor '{BIAS}': (10, 1)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, text, copy):
    rewrite(copy, change)
    assert text in refuse(zoo.load_model, copy)


def test_tensors_that_lie_about_their_place_are_refused(copy):
    metadata, table = read_header(copy)
    data = copy.read_bytes()[-sum(e["data_offsets"][1] - e["data_offsets"][0] for e in table.values()) :]
    table[BIAS]["data_offsets"], table[WEIGHT]["data_offsets"] = ([0, 40], table[WEIGHT]["data_offsets"])
    write(copy, {"__metadata__": {"zoo": json.dumps(metadata)}, **table}, data)
    assert "cannot be read: SafetensorError" in refuse(zoo.load_model, copy)


@pytest.mark.parametrize("key", ["model", "plugin", "params", "input_shape", "class_names"])
@pytest.mark.parametrize("value", [..., None, 3, [3, None], {"name": 3}, [-1], [0.5]])
def test_metadata_that_rebuilds_no_model_is_refused(key, value, copy):
    def change(metadata):
        metadata[key] = value
        if value is ...:
            del metadata[key]

    rewrite(copy, change_metadata=change)
    text = refuse(zoo.load_model, copy)
    assert "metadata" in text or "does not fit model 'baseline'" in text


def test_params_the_model_does_not_have_are_refused(copy):
    rewrite(copy, change_metadata=lambda metadata: metadata["params"].update(depth=3))
    assert "does not fit model 'baseline': model 'baseline' has no setting 'depth'" in refuse(zoo.load_model, copy)
    rewrite(copy, change_metadata=lambda metadata: metadata["params"].update(hidden_units="x"))
    assert "does not fit model 'baseline'" in refuse(zoo.load_model, copy)


@pytest.mark.parametrize(
    ("plugin", "text"),
    [
        ({"name": "zoo-vit", "version": "1.2", "source": "installed"}, "no such plugin here. pip install zoo-vit"),
        ({"name": "mine", "version": "", "source": "/a/mine.py"}, "no such plugin here. Give it with --plugin /a/mine"),
    ],
)
def test_weights_of_a_missing_plugin_name_it(plugin, text, copy):
    rewrite(copy, change_metadata=lambda metadata: metadata.update(plugin=plugin))
    with pytest.raises(PluginError, match=plugin["name"]) as caught:
        zoo.load_model(copy)
    assert text in str(caught.value)
    assert caught.value.exit_code == 5


def test_a_model_its_plugin_no_longer_has_is_named(copy):
    rewrite(copy, change_metadata=lambda metadata: metadata.update(model="baselime"))
    with pytest.raises(PluginError, match=r"needs its model 'baselime': no model named"):
        zoo.load_model(copy)
