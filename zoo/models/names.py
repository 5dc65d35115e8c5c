"""Names: tensors of a state dict brought to the names that a model has for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from torch import Tensor

from zoo.errors import SettingError, UsageError, WeightsError, quote, suggest

COUNTERS = ("n_averaged", "total_ops", "total_params")
"""What tools leave in a state dict and no model needs: the number of averaged models, the operations of a profiler."""
BATCHES = "num_batches_tracked"
"""A counter of batch normalisation that old files lack, and that matters only where it has no momentum."""
ALIKE = 0.6
"""Likeness of two names, from 0 to 1, above which one may be meant by the other."""
COMPARED = 50
"""Missing tensors whose names are compared with those left over, at most four times as many: it takes long."""
SHOWN = 5
"""Tensors that an error names of each kind."""


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Tensors under the names of a model.

    Fields:
        tensors: All that the model has, but for counters of batches.
        beginning: What the names in the file, and those of the model, begin with in the place of each other.
        left_out: Names in the file that were not taken.
        missing: Counters of batches that the file lacks.
    """

    tensors: Mapping[str, Tensor]
    beginning: tuple[str, str]
    left_out: tuple[str, ...]
    missing: tuple[str, ...]


def match_names(
    path: Path,
    tensors: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    rename: Mapping[str, str],
    drop: Sequence[str],
) -> Matched:
    """Give each tensor of a model the one that a file has for it.

    First those that `drop` names are left out and others get the names that `rename` says: both take a whole name, or
    its beginning up to a dot, `fc` for `fc.weight`. Then what all names of the file begin with, `module.` say, may
    stand in the place of what all names of the model begin with.

    Raises:
        SettingError, UsageError: `rename` or `drop` names nothing, or two tensors get one name.
        WeightsError: tensors are missing, or left over; names them, and the nearest ones.
    """
    left_out = [name for name in tensors if any(_begins(name, part) for part in drop)]
    for part in (*drop, *rename):
        _check_part("drop" if part in drop else "rename", part, tensors)
    named = rename_all({name: tensor for name, tensor in tensors.items() if name not in left_out}, rename)
    counters = [name for name in named if name.rpartition(".")[2] in COUNTERS]
    left_out += counters
    named = {name: tensor for name, tensor in named.items() if name not in counters}
    ours = find_beginning(expected)
    wanted = {name.removeprefix(ours): name for name in expected}
    needed = [name for name in wanted if name.rpartition(".")[2] != BATCHES]
    fitting = [begin for begin in _list_beginnings(named, needed) if all(begin + name in named for name in needed)]
    begin = fitting[0] if fitting else max(("", find_beginning(named)), key=lambda each: _count(each, wanted, named))
    found = {wanted[name]: named[begin + name] for name in wanted if begin + name in named}
    extra = [name for name in named if name.removeprefix(begin) not in wanted or not name.startswith(begin)]
    missing = [name for name in expected if name not in found]
    if extra or not fitting:
        _refuse(path, named, expected, [name for name in missing if not name.endswith(BATCHES)], extra)
    beginning = (begin, ours) if begin != ours else ("", "")
    return Matched(tensors=found, beginning=beginning, left_out=tuple(left_out), missing=tuple(missing))


def rename_all(tensors: Mapping[str, Tensor], rename: Mapping[str, str]) -> dict[str, Tensor]:
    """Return tensors under other names; of each the first beginning in `rename` that it has is replaced."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        old = next((part for part in rename if _begins(name, part)), None)
        new = name
        if old is not None:
            rest = name[len(old.rstrip(".")) :].lstrip(".")
            new = ".".join(part for part in (rename[old].strip("."), rest) if part)
        if not new or new in renamed:
            what = f"two tensors would be called {quote(new)}" if new else f"{quote(name)} would have no name"
            raise UsageError(what, fix="Give another rename=..., or leave one of them out with drop=...")
        renamed[new] = tensor
    return renamed


def find_beginning(names: Iterable[str]) -> str:
    """Return what all names begin with, up to a dot: `module.`; the last part of a name never belongs to it."""
    split = [name.split(".")[:-1] for name in names]
    if not split:
        return ""
    shared = 0
    while all(len(parts) > shared and parts[shared] == split[0][shared] for parts in split):
        shared += 1
    return "".join(f"{part}." for part in split[0][:shared])


def _list_beginnings(named: Collection[str], needed: Sequence[str]) -> list[str]:
    """Return the beginnings under which a file has the longest name that is needed."""
    if not needed:
        return [""]
    longest = max(needed, key=len)
    ends = [name for name in named if name == longest or name.endswith(f".{longest}")]
    return [name.removesuffix(longest) for name in ends]


def _count(begin: str, wanted: Iterable[str], named: Collection[str]) -> int:
    return sum(begin + name in named for name in wanted)


def _begins(name: str, part: str) -> bool:
    part = part.rstrip(".")
    return name == part or name.startswith(f"{part}.")


def _check_part(option: str, part: str, names: Collection[str]) -> None:
    if part.rstrip(".") and not any(_begins(name, part) for name in names):
        fix = suggest(part, names, "See the names: zoo show FILE shows those of a .safetensors file")
        raise SettingError(option, "no tensor of the file is called so, nor begins so", part, fix=fix)


def _refuse(
    path: Path,
    named: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    missing: Sequence[str],
    extra: Sequence[str],
) -> None:
    """Say which tensors do not fit, and what they may be called."""
    looked = missing[:COMPARED]
    near = {name: _find_nearest(name, expected[name], extra, named) for name in looked}
    parts = []
    if missing:
        told = [f"{name} ({other} is near)" if (other := near[name]) else name for name in missing[:SHOWN]]
        parts.append(f"it lacks {len(missing)} of {len(expected)} tensors: {_list(told, len(missing))}")
    if extra:
        parts.append(f"{len(extra)} are not of the model: {_list(extra[:SHOWN], len(extra))}")
    pairs = {_strip_end(other, name) for name, other in near.items() if other}
    advice = []
    if pairs and 2 * sum(map(bool, near.values())) >= len(looked):
        told = [f"{old}={new}" for old, new in sorted(pairs)[:3]]
        advice.append(f"Say what is called otherwise with rename=..., as {' and '.join(told)}")
    elif missing:
        advice.append("It may be of another model, or of other params")
    if extra and not missing:
        parts_of = sorted({name.split(".")[0] for name in extra})
        advice.append(f"Leave them out with drop=..., as {', '.join(parts_of[:3])}")
    raise WeightsError(f"{path} does not fit the model", "; ".join(parts), ". ".join(advice))


def _list(names: Sequence[str], count: int) -> str:
    more = f" and {count - len(names)} more" if count > len(names) else ""
    return f"{', '.join(names)}{more}"


def _find_nearest(name: str, wanted: Tensor, names: Sequence[str], tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name most like `name` of a tensor that has the shape wanted, but for the number of classes."""
    fitting = [each for each in names if tensors[each].shape[1:] == wanted.shape[1:]][: 4 * COMPARED]
    likeness = {each: SequenceMatcher(None, each, name).ratio() for each in fitting}
    return max((each for each in fitting if likeness[each] > ALIKE), key=lambda each: likeness[each], default=None)


def _strip_end(old: str, new: str) -> tuple[str, str]:
    """Return two names without what both end with: `head.weight` and `fc.weight` become `head` and `fc`."""
    olds, news = old.split("."), new.split(".")
    while len(olds) > 1 and len(news) > 1 and olds[-1] == news[-1]:
        olds.pop(), news.pop()
    return ".".join(olds), ".".join(news)
