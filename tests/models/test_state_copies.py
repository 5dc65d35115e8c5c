"""What a checkpoint holds is copied while the training waits, into the memory of the copy before."""

from __future__ import annotations

import pytest
import torch

from zoo.data import workers
from zoo.models.state import MANY, PIECE, copy_state


def list_tensors(state) -> list[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        return [state]
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else []
    return [tensor for part in parts for tensor in list_tensors(part)]


def make_state(seed: int) -> dict:
    """Return tensors of many kinds, more than are copied by one thread, among plain data."""
    generator = torch.Generator().manual_seed(seed)
    wide = torch.rand(3, PIECE // 4 + 7, generator=generator)
    return {
        "model": {"wide": wide, "turned": torch.rand(2000, 1100, generator=generator).T, "half": wide[:2].bfloat16()},
        "optimizer": [{"step": torch.tensor(seed), "empty": torch.zeros(0, 3)}, (1, "two", None), [seed, wide[0, ::2]]],
        "flags": torch.rand(PIECE, generator=generator) > 0.5,
        "generator": generator.get_state(),
    }


@pytest.mark.parametrize("cores", [1, 3])
def test_all_of_a_state_is_copied_and_memory_used_again(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    monkeypatch.setattr(workers, "count_cores", lambda: cores)
    state, other = make_state(1), make_state(2)
    sources = list_tensors(state)
    assert sum(tensor.nbytes for tensor in sources) > MANY
    copied = copy_state(state)
    places = [tensor.data_ptr() for tensor in list_tensors(copied)]
    assert not {*places} & {tensor.data_ptr() for tensor in sources if tensor.numel()}
    for source, copy in zip(sources, list_tensors(copied), strict=True):
        assert copy.dtype == source.dtype and copy.equal(source)
    assert copied["model"]["turned"].stride() == state["model"]["turned"].stride()
    again = copy_state(other, copied)
    assert [tensor.data_ptr() for tensor in list_tensors(again)] == places
    assert all(map(torch.equal, list_tensors(again), list_tensors(other)))
    assert again["optimizer"][1] == (1, "two", None) and again["optimizer"][2][0] == 2
    for source in list_tensors(other):
        source.zero_()
    assert all(map(torch.equal, list_tensors(again), list_tensors(make_state(2))))
