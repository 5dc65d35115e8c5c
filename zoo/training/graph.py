"""Graph: the calls into ATen that a computation makes, recorded, and a plain function that makes them again.

A mode of torch's dispatcher sees every call below autograd, those of the backward pass too. `make_fx` records the same,
but the import of sympy and torch._dynamo that it begins with takes longer than a short training can save.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from types import BuiltinFunctionType, MethodDescriptorType, NoneType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

UNFIT = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
"""Marks of calls whose result, or whose shape, follows from values."""
TURNING = {"as_strided_", "squeeze_", "swapaxes_", "swapdims_", "t_", "transpose_", "unsqueeze_"}
"""Calls that turn a tensor into another view of its memory; others of their kind may give it another memory."""
UNMARKED = ("running_mean", "running_var")
"""What calls of batch norm write into, though their schemas do not say so."""
PLAIN = (NoneType, bool, int, float, complex, str, torch.dtype, torch.device, torch.layout, torch.memory_format)


class UnfitError(Exception):
    """A computation does not make the same calls each time: says why."""


class PlainMode(TorchDispatchMode):
    """A mode of the dispatcher that torch's compiler has nothing to do with."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch wraps __torch_dispatch__ in what imports torch._dynamo


class Graph(PlainMode):
    """Records the calls of its body, which runs as it would without, as lines of Python.

    `tensors` are those that are known, by name. The first letter of a name says what it is: `p` a parameter, `k` what
    else comes from outside and must be the same each time, neither of which may be written into; `v` what a call made,
    `o` an operation.

    Raises:
        UnfitError: before a call that cannot be recorded is made.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lines: list[tuple[str, list[str], list[str]]] = []
        """The text of each call, the names of the tensors that it uses, and of those that it makes."""
        self.values: dict[str, Any] = {}
        self.operators: list[str] = []
        """The full name of the operator of each call."""
        self.result, self.ends = "", dict[str, str]()
        """The name of what the computation gives, and those of what else comes of it, each with what it is for."""
        self.known: dict[int, tuple[weakref.ref[Tensor], str]] = {}
        self.memory: dict[str, str] = {}
        """By the name of a tensor, that of the first one in the same memory."""
        self.forms: dict[tuple[Any, ...], str] = {}
        """Tensors by how they lie in which memory: another one that is alike needs no call."""
        self.shared = set[str]()
        """Names of several tensors that are alike, none of which may be turned into another view of its memory."""
        for name, tensor in tensors.items():
            self._add(tensor, name, name)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make a call and record it."""
        kwargs, arguments = kwargs or {}, func._schema.arguments
        text = ", ".join([*map(self._write, args), *(f"{name}={self._write(kwargs[name])}" for name in kwargs)])
        given = {**dict(zip((each.name for each in arguments), args, strict=False)), **kwargs}
        marked = [each.name for each in arguments if each.alias_info and each.alias_info.is_write]
        written = [given.get(name) for name in (*marked, *(UNMARKED if given.get("training") else ()))]
        follows = UNFIT & set(func.tags) and not _is_picked(func, args)
        names = [self.name(each) for each in _list_tensors(written)]
        name, turns = func._schema.name.removeprefix("aten::"), torch.Tag.inplace_view in func.tags
        tied = turns and (name not in TURNING or any(each[0] != "v" or each in self.shared for each in names))
        if follows or tied or any(self.memory[name][0] in "pk" for name in names):
            raise UnfitError(f"{func} follows values, writes into what is no buffer, or turns what has another name")
        fresh = func is torch.ops.aten.lift_fresh.default  # what it gives may be written into
        operation = torch.clone if fresh else _find_binding(func, args, kwargs)
        tensors, results = _list_tensors([args, kwargs]), func(*args, **kwargs)
        several = isinstance(results, tuple | list)
        if turns:
            self._turn(_list_tensors(written))
        gives = [self._name_result(each, [] if fresh else tensors) for each in (results if several else [results])]
        if (new := [name for name in gives if name != "_"]) or written or results is None:  # None: it checks values
            left = f"{', '.join(gives)}{',' * several} = " if new else ""
            line = f"{left}{self._keep(operation, 'o')}({text})"
            self.lines.append((line, [self.name(each) for each in tensors], new))
            self.operators.append(str(func))
        return results

    def name(self, tensor: Tensor) -> str:
        """Return what a tensor is called, "" for an unknown one."""
        reference, name = self.known.get(id(tensor), (None, ""))
        return name if reference is not None and reference() is tensor else ""

    def is_like(self, other: Graph) -> bool:
        """Whether both are the same calls with the same values."""
        one, two = ([each.describe(), _read(each.values, digest)] for each in (self, other))
        return one == two

    def describe(self) -> str:
        """Return a text that graphs share which make the same calls, whatever the values in their tensors are."""
        plain = {name: value for name, value in self.values.items() if name[0] != "o"}
        known = _read(plain, lambda tensor: repr(_describe_form(tensor)))
        return repr([self.lines, self.operators, self.ends, self.result, list(plain), known])

    def bind(
        self, tensors: Mapping[str, Any], given: Sequence[str], ends: Mapping[str, str], results: Sequence[str]
    ) -> Any:
        """Return a function of the `given` names that makes the calls again and returns the `results`.

        `ends` has a statement for names that are of use after their last call, which runs then. Afterwards a name
        stands for nothing, so that memory is free as soon as it is in an ordinary step.
        """
        space, body = {**self.values, **tensors}, list[str]()
        used = {*ends, *results, *(name for _, uses, _ in self.lines for name in uses)}
        idle = {name for name, memory in self.memory.items() if name != memory} - used
        lines = [line for line in self.lines if not line[2] or not idle.issuperset(line[2])]
        last = {name: index for index, (_, uses, gives) in enumerate(lines) for name in (*uses, *gives)}
        for index, (text, uses, gives) in enumerate(lines):
            over = sorted({name for name in (*uses, *gives) if name[0] == "v" and last[name] == index})
            body += [text, *(ends[name] for name in over if name in ends)]
            body += [f"{name} = None" for name in over if name not in results]
        source = "\n    ".join([f"def replay({', '.join(given)}):", *body, f"return {', '.join(results)}"])
        exec(source, space)
        return space["replay"]

    def _add(self, tensor: Tensor, name: str, memory: str) -> str:
        if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout is not torch.strided:
            raise UnfitError(f"a {type(tensor).__name__} in the computation")
        self.known[id(tensor)] = weakref.ref(tensor), name
        self.memory[name] = memory
        self.forms.setdefault((memory, *_describe_form(tensor)), name)
        return name

    def _turn(self, tensors: Sequence[Tensor]) -> None:
        """Note that tensors have become other views of their memory."""
        names = [self.name(each) for each in tensors]
        self.forms = {form: name for form, name in self.forms.items() if name not in names}
        for tensor, name in zip(tensors, names, strict=True):
            self.forms.setdefault((self.memory[name], *_describe_form(tensor)), name)

    def _keep(self, value: Any, letter: str) -> str:
        """Return a name for what comes from outside; an operation has one for all its calls."""
        known = (name for name, each in self.values.items() if each is value and letter == "o")
        name = next(known, f"{letter}{len(self.values)}")
        self.values[name] = value
        return name

    def _write(self, value: Any) -> str:
        """Return an argument as text; raise UnfitError for what is no plain value."""
        if isinstance(value, Tensor):
            return self.name(value) or self._add(value, name := self._keep(value, "k"), name)
        if isinstance(value, tuple | list) and _list_tensors(value):
            return f"[{', '.join(map(self._write, value))}]"
        if not all(type(each) in PLAIN for each in (value if isinstance(value, tuple | list) else [value])):
            raise UnfitError(f"a {type(value).__name__} in the computation")
        return repr(value) if type(value) in (NoneType, bool, int) else self._keep(value, "k")

    def _name_result(self, result: Any, tensors: Sequence[Tensor]) -> str:
        """Return the name of what a call gave, "_" for nothing and for what has a name already."""
        if result is None or self.name(result):
            return "_"
        place = result.untyped_storage()._cdata
        shared = (self.name(each) for each in tensors if each.untyped_storage()._cdata == place)
        memory = self.memory.get(next(shared, ""), "")
        if memory and (same := self.forms.get((memory, *_describe_form(result)))):
            self.known[id(result)] = weakref.ref(result), same
            self.shared.add(same)
            return "_"
        name = f"v{len(self.memory)}"
        return self._add(result, name, memory or name)


class _Probe(PlainMode):
    """Notes the first call of its body, and keeps it from being made."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found = func, args, kwargs or {}
        raise UnfitError


def _find_binding(func: Any, args: Any, kwargs: Any) -> Any:
    """Return what makes a call: a function of torch that comes to the same, at a third of the cost, or the operator."""
    name, probe = func._schema.name.partition("::")[2], _Probe()  # type: ignore[no-untyped-call]
    for function in (getattr(place, name, None) for place in (torch, torch._C._nn, Tensor)):
        if isinstance(function, BuiltinFunctionType | MethodDescriptorType):
            try:
                with torch._C._AutoDispatchBelowAutograd(), probe:
                    function(*args, **kwargs)
            except UnfitError:
                if probe.found[0] is func and _read(probe.found[1:], id) == _read([args, kwargs], id):
                    return function
            except (TypeError, RuntimeError):
                continue
    return func._op


def _is_picked(func: Any, args: Any) -> bool:
    """Whether a call picks elements by numbers, of which the shape is known; by a mask it follows from values."""
    masks = torch.bool, torch.uint8
    return func is torch.ops.aten.index.Tensor and all(each.dtype not in masks for each in _list_tensors(args[1]))


def _read(value: Any, read_tensor: Callable[[Tensor], Any]) -> list[Any]:
    """Return what can be compared with what is read of another value."""
    return [read_tensor(each) if isinstance(each, Tensor) else (type(each), repr(each)) for each in tree_leaves(value)]


def digest(tensor: Tensor) -> bytes:
    """Return a digest of how a tensor lies in its memory, and of its bits."""
    found = blake2b(repr(_describe_form(tensor)[1:]).encode())
    plain = tensor.detach().resolve_conj().resolve_neg()
    found.update(plain.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.digest()


def _list_tensors(value: Any) -> list[Tensor]:
    return [each for each in tree_leaves(value) if isinstance(each, Tensor)]


def _describe_form(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype, tensor.is_conj(), tensor.is_neg()
