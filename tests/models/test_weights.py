from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from weights_files import DTYPES, refuse, rewrite

import zoo
from zoo.errors import PluginError, StorageError
from zoo.models import weights
from zoo.models.weights import check_digests, save_table
from zoo.records.header import FORMAT, read_header
from zoo.registry.entries import Registry


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
    save_table(path, model, metadata)
    return path


def same_bits(left, right):
    raw = [tensor.detach().contiguous().reshape(-1).view(torch.uint8) for tensor in (left, right)]
    return left.dtype == right.dtype and left.shape == right.shape and torch.equal(*raw)


class Waves(nn.Module):
    """Two buffers that no file keeps, filled by what usually fills parameters."""

    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.head = nn.Linear(4, num_classes)
        self.register_buffer("waves", torch.zeros(4).uniform_(1.5, 1.5), persistent=False)
        self.register_buffer("shifts", nn.init.normal_(torch.zeros(4), mean=5, std=0), persistent=False)

    def forward(self, inputs):
        return self.head(inputs.flatten(1) * self.waves + self.shifts)


def test_buffers_that_no_file_keeps_are_filled(tmp_path):
    registry = Registry()
    registry.add(zoo.ModelSpec(name="waves", factory=Waves))
    path = tmp_path / "w.safetensors"
    facts = {"input_shape": (1, 2, 2), "class_names": ("a", "b")}
    zoo.save(Waves(input_shape=(1, 2, 2), num_classes=2), path, model="waves", registry=registry, **facts)
    loaded = zoo.load_model(path, registry=registry)
    # Filling parameters is skipped, since all of them come from the file; these do not.
    assert loaded.waves.tolist() == [1.5] * 4
    assert loaded.shifts.tolist() == [5] * 4


class Tied(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.once = nn.Linear(4, 4)
        self.twice = nn.Linear(4, 4)
        self.twice.weight = self.once.weight
        self.head = nn.Linear(4, num_classes)

    def forward(self, inputs):
        return self.head(self.twice(self.once(inputs.flatten(1)).relu()))


def test_tied_tensors_stay_tied(tmp_path):
    registry = Registry()
    registry.add(zoo.ModelSpec(name="tied", factory=Tied))
    path = tmp_path / "w.safetensors"
    facts = {"input_shape": (1, 2, 2), "class_names": ("a", "b")}
    zoo.save(Tied(input_shape=(1, 2, 2), num_classes=2), path, model="tied", registry=registry, **facts)
    loaded = zoo.load_model(path, registry=registry)
    assert loaded.twice.weight is loaded.once.weight


@pytest.mark.promise("P1")
def test_what_takes_the_place_of_a_file_is_on_the_disk(tmp_path, monkeypatch):
    synced, renamed = {}, []
    fsync, replace = os.fsync, Path.replace

    def noting_fsync(file):
        fsync(file)
        state = os.fstat(file)
        if stat.S_ISREG(state.st_mode):
            synced[state.st_ino] = Path(f"/proc/self/fd/{file}").read_bytes()

    def noting_replace(self, target):
        renamed.append((self.stat().st_ino, self.read_bytes()))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(Path, "replace", noting_replace)
    path = save(tmp_path / "w.safetensors", Odd())
    ((inode, content),) = renamed
    assert content == path.read_bytes()
    assert synced[inode] == content, (
        "the digests were put into the header, and did not reach the disk before the rename"
    )


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
    header = read_header(path)
    assert header.metadata.keys() == {"format", "digests"}
    assert {name: entry.shape for name, entry in header.tensors.items()} == {
        name: tuple(value.shape) for name, value in model.state_dict().items()
    }


@settings(max_examples=60)
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
    assert set(read_header(path).tensors) == set(buffers)
    check_digests(path, read_header(path))


def test_metadata_comes_back_as_it_was(tmp_path):
    metadata = {"model": "m", "names": ["T-shirt/top", "日本", '"\n\x1b'], "n": None, "x": 0.1, "big": 2**60, "t": {}}
    found = read_header(save(tmp_path / "w.safetensors", Plain(a=torch.ones(2)), **metadata)).metadata
    assert found.pop("digests").keys() == {"tensors", "model"}
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


@pytest.mark.promise("P1")
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
    assert text in refuse(save_table, path, model, {})
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_is_missing_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="cannot save weights to"):
        save_table(tmp_path / "gone" / "w.safetensors", Plain(a=torch.ones(2)), {})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    sizes = {"train_size": 320, "test_size": 100}
    return zoo.run(dataset_params=sizes, epochs=1, runs_dir=tmp_path_factory.mktemp("runs")).weights


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copy(trained, tmp_path / "copy.safetensors")


@pytest.mark.promise("P1")
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


@pytest.mark.promise("P4")
def test_a_file_rewritten_while_it_is_read_changes_nothing(copy, monkeypatch):
    expected = safetensors.torch.load(copy.read_bytes())
    load = weights.load_tensors

    def rewrite_first(path, *arguments):
        # In place, as some programs write: the same file, other bytes.
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
        load(path, *arguments)

    monkeypatch.setattr(weights, "load_tensors", rewrite_first)
    model = zoo.load_model(copy)
    assert set(copy.read_bytes()) == {0}
    assert all(same_bits(value, expected[name]) for name, value in model.state_dict().items())


WEIGHT, BIAS = "layer_stack.1.weight", "layer_stack.2.bias"


@pytest.mark.promise("P4")
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
        (lambda t: t.update({BIAS: t[BIAS].double() * 1e300}), "float32 in the model, and its values do not fit"),
        (lambda t: t.update({BIAS: t[BIAS].double() + 1e-12}), "float32 in the model, and its values do not fit"),
        (lambda t: t.update({BIAS: t[BIAS].to(torch.int32)}), "float32 in the model, and its values do not fit"),
        (lambda t: t[BIAS].fill_(float("nan")), f"tensor '{BIAS}': 10 of its values are not finite"),
        (lambda t: t[WEIGHT][3, 5:7].fill_(float("-inf")), f"tensor '{WEIGHT}': 2 of its values are not finite"),
        (lambda t: t.update({BIAS: t[BIAS].to(torch.complex64)}), f"tensor '{BIAS}': (10,) torch.complex64"),
        (lambda t: t.update({BIAS: t[BIAS][:, None].clone()}), f"tensor '{BIAS}': (10, 1)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, text, copy):
    rewrite(copy, change)
    assert text in refuse(zoo.load_model, copy)


@pytest.mark.promise("P4")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_load_when_no_value_is_lost(dtype, copy):
    def change(tensors):
        tensors[BIAS] = tensors[BIAS].half().to(torch.bfloat16).to(dtype)

    rewrite(copy, change, lambda metadata: metadata.pop("golden"))
    bias = zoo.load_model(copy).state_dict()[BIAS]
    assert bias.dtype == torch.float32
    assert torch.equal(bias, safetensors.torch.load_file(copy)[BIAS].float())


def test_large_finite_values_are_no_infinity(copy):
    rewrite(copy, lambda tensors: tensors[WEIGHT].fill_(3e38))
    assert float(zoo.load_model(copy).state_dict()[WEIGHT].max()) > 2e38


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
        (
            {"name": "zoo-vit", "version": "1.2", "source": "installed"},
            "an installed plugin called 'zoo-vit'. Install it only if",
        ),
        (
            {"name": "mine", "version": "", "source": "/a/mine.py"},
            "no such plugin here. Give it with plugins=['/a/mine",
        ),
        (
            {"name": "mine", "version": "", "source": "mine.py"},
            "The file says that this was in 'mine.py': give that with",
        ),
        ({"name": "mine", "version": "", "source": "an object"}, "no such plugin here. Give it again: plugins="),
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


@pytest.mark.promise("P7")
def test_weights_hold_no_folder_of_this_machine(tmp_path):
    folder = tmp_path / "secret-place"
    folder.mkdir()
    plugin = folder / "mine.py"
    plugin.write_text(
        "import torch, zoo\n"
        "@zoo.model(name='net')\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, *, input_shape, num_classes):\n"
        "        super().__init__()\n"
        "        self.layer = torch.nn.Linear(784, num_classes)\n"
        "    def forward(self, inputs):\n"
        "        return self.layer(inputs.flatten(1))\n"
        "@zoo.dataset(name='data')\n"
        "def data(*, root):\n"
        "    targets = torch.arange(40) % 4\n"
        "    images = (targets * 60).to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, 28, 28)\n"
        "    return zoo.DataSplits(train=(images, targets), test=(images, targets), class_names=list('abcd'))\n",
        encoding="utf-8",
    )
    where = {"plugins": [plugin], "runs_dir": folder / "runs", "epochs": 1}
    first = zoo.run("net", "data", **where)
    second = zoo.run(init=first.weights, **where)
    for result in (first, second):
        assert b"secret-place" not in result.weights.read_bytes()
    saved = zoo.load(second.weights, plugins=[plugin]).weights
    assert (saved.plugin.source, saved.dataset.plugin.source) == ("mine.py", "mine.py")
    assert saved.init.path == f"{first.run.name}/weights.safetensors"
    # The record of the run stays on this machine, and knows.
    with pytest.raises(PluginError, match=r"secret-place/mine\.py'\] if you trust it"):
        zoo.load(second.weights)
    alone = Path(shutil.copy(second.weights, tmp_path / "alone.safetensors"))
    with pytest.raises(PluginError, match=r"this was in 'mine\.py': give that with plugins="):
        zoo.load(alone)
