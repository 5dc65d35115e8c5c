"""Purity: whether the code of a forward pass shows that it does the same to the same tensors each time.

It is read as Python compiled it, which is what runs. What is allowed is listed, and all else refused: values may come
from arguments, from what cannot change, from lists and dicts of the layers and from functions of torch. So a branch
depends on what stays as it is, or on a tensor or a list, which shows when the step is recorded.
"""

from __future__ import annotations

import abc
import builtins
import dis
import inspect
import math
import sys
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, NoneType
from typing import Any, Generic

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.training.graph import PLAIN

NAMED = """
append _assert autocast bfloat16 _C contiguous copy copy_ cpu device dim double dtype enable_grad expand expand_as
extend fft float format functional get H half imag index indices insert int is_contiguous is_scripting is_tensor
is_tracing items jit join keys layout linalg _log_api_usage_once long mH __module__ mT __name__ name ndim ndimension
nelement new_empty new_full new_ones new_tensor new_zeros nn no_grad pop real remove repeat requires_grad reshape_as
shape size startswith stride T Tensor to type type_as unfold uniform_ update values view view_as
"""
METHODS = {"_conv_forward", "children", "extra_repr", "forward", "_get_name", "named_children", "training"}
"""Parts of a layer that may be named, and that torch's own methods call."""
WORDS = {
    *NAMED.split(),
    *METHODS,
    *(name for name in dir(math) if name[0] != "_"),
    *(name for name in dir(torch._C._VariableFunctions) if not name.startswith(("_", "from"))),
    *(name for name in dir(Tensor) if name[-1] == "_" and hasattr(torch._C._VariableFunctions, name[:-1])),
    *(name for name, value in vars(functional).items() if isinstance(value, FunctionType | BuiltinFunctionType)),
    *(name for name, value in vars(torch).items() if isinstance(value, torch.dtype)),
    *(name for place in (torch.fft, torch.linalg) for name in vars(place) if name[0] != "_"),
}
"""Names that may follow a point: of torch, of its tensors, and of what is made in the function itself."""
BUILTINS = """
abs all any bool dict enumerate float int isinstance len list max min pow range reversed round sorted str sum super
tuple zip
"""
PLACES = (torch, nn, functional, math, torch.fft, torch.linalg)
"""Modules that may be named."""
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
UNSEEN = {
    *("__init__", "__new__", "__getstate__", "__setstate__", "__class_getitem__", "__init_subclass__"),
    *("__dict__", "__weakref__", "_load_from_state_dict", "reset_parameters"),
}
"""Methods that no forward pass calls, if it does not name them."""
RULING = {"__call__", "__getattr__", "__getattribute__", "__setattr__", "__delattr__", "_call_impl"}
"""Methods that decide what the words of a forward pass mean."""


class Impure(Exception):
    """What a forward pass does that may be another thing the next time."""


def find_impurity(model: nn.Module, loss_function: Any) -> str:
    """Return why the code does not show that a model and a loss are pure, "" where it does."""
    given: tuple[Any, ...] = ()
    while type(loss_function) is partial or type(loss_function).__module__ == "zoo.training.objective":
        given += (getattr(loss_function, "args", ()), *getattr(loss_function, "keywords", {}).values())
        loss_function = getattr(loss_function, "func", getattr(loss_function, "function", functional.cross_entropy))
    others = [*loss_function.modules()] if isinstance(loss_function, nn.Module) else []
    own = [value for each in others for name, value in vars(each).items() if name not in vars(nn.Module())]
    if any(hasattr(each, "__setitem__") for each in others) or any(type(each) in (list, dict, tuple) for each in own):
        return "the loss holds a list, and is not copied for a recording"
    try:
        for name, value in (item for place in (*PLACES, torch.jit, Tensor) for item in vars(place).items()):
            if (name in WORDS or name[:2] == "__") and not _is_as_made(value):
                raise Impure(f"{name} of torch is no longer torch's")
        reader = _Reader([*model.modules(), *others])
        for module in reader.modules:
            reader.read_module(module)
        reader.check((loss_function, *given))
    except Impure as reason:
        return str(reason)
    return ""


class _Reader:
    """Reads the code of all that a forward pass of some modules may call."""

    def __init__(self, modules: list[nn.Module]) -> None:
        self.modules, self.done = modules, set[Any]()

    def read_module(self, module: nn.Module) -> None:
        """Read what runs when a module is called, or stands in an expression."""
        kind, own = type(module), vars(module)
        tensors = {type(each) for each in (*own["_parameters"].values(), *own["_buffers"].values())}
        if any(own[name] for name in HOOKS) or not tensors <= {Tensor, nn.Parameter, NoneType}:
            raise Impure(f"a {kind.__name__} has hooks, or tensors of a kind of their own")
        if type(kind) not in (type, abc.ABCMeta) or any(callable(own[name]) and name in dir(kind) for name in own):
            raise Impure(f"a {kind.__name__} is not what its class says")
        bases = [base for base in kind.__mro__ if base not in (object, Generic, abc.ABC)]
        inherited = sum(map(_is_of_torch, bases)) > 1
        for value in filter(callable, own.values() if inherited else ()):
            self.check(value)
        for name, value in (item for base in bases if not _is_of_torch(base) for item in vars(base).items()):
            if name in RULING:
                raise Impure(f"a {kind.__name__} has {name}")
            plain = isinstance(value, FunctionType | staticmethod | classmethod)
            special, read = name[:2] == "__", hasattr(value, "__get__") > plain
            called = read or (callable(value) or plain if special else inherited or name in METHODS)
            if called and name not in UNSEEN:
                self.check(value)

    def check(self, value: Any) -> None:
        """Refuse what may change or do something else the next time; read a function that is not one of torch's."""
        name, kind = getattr(value, "__name__", ""), type(value)
        known = [*PLACES, *self.modules, FunctionType]
        if name in BUILTINS.split():
            known.append(getattr(builtins, name))
        if name in WORDS:
            known += [vars(place).get(name) for place in PLACES]
        # Nobody catches an error, see _read_code, and a function may be decorated by torch.no_grad().
        error = kind is type and issubclass(value, Exception) and value is getattr(builtins, name, None)
        decorated = kind is MethodType and type(value.__self__) in (torch.no_grad, torch.enable_grad)
        if any(value is each for each in known) or error or decorated:
            return
        if kind in (Tensor, nn.Parameter, FunctionType):
            self.check(tuple(vars(value).values()))
        if kind in (tuple, torch.Size):
            for each in value:
                self.check(each)
        elif kind in (property, staticmethod):
            self.check(value.fget if kind is property else value.__func__)
        elif kind is FunctionType:
            self._read_function(value)
        elif kind not in (*PLAIN, Tensor, nn.Parameter):
            raise Impure(f"a {kind.__name__} {name}")

    def _read_function(self, function: FunctionType) -> None:
        code, cells = function.__code__, function.__closure__ or ()
        if (key := (code, *map(id, cells))) not in self.done:
            self.done.add(key)
            if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE):
                raise Impure("a generator")
            for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
                self.check(value)
            names = dict(zip(code.co_freevars, (cell.cell_contents for cell in cells), strict=True))
            self._read_code(code, function.__globals__, names)

    def _read_code(self, code: CodeType, outside: Mapping[str, Any], cells: Mapping[str, Any]) -> None:
        operations = list(dis.get_instructions(code))
        after = {each.offset: following.argval for each, following in pairwise(operations)}
        kinds = [operation.opname for operation in operations]
        if kinds.count("PUSH_EXC_INFO") > kinds.count("WITH_EXCEPT_START"):  # more than the ends of its with blocks
            raise Impure(f"{code.co_qualname}: catches errors, which may follow values")
        for operation in operations:
            kind, name = operation.opname, operation.argval
            try:
                if kind in ("LOAD_GLOBAL", "LOAD_NAME"):
                    self.check(outside[name] if name in outside else getattr(builtins, name, Impure))
                elif kind.startswith(("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER")):
                    if (name, after[operation.offset]) != ("__class__", "__name__"):
                        self._check_word(name)
                elif operation.opcode in dis.hasname or (name in cells and kind in ("STORE_DEREF", "DELETE_DEREF")):
                    raise Impure(kind.lower().replace("_", " "))
                elif operation.opcode in dis.hasfree and name in cells and name != "__class__":
                    self.check(cells[name])
            except Impure as reason:
                raise Impure(f"{code.co_qualname}: {name}: {reason}") from None
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._read_code(constant, outside, cells)

    def _check_word(self, name: str) -> None:
        """Check whatever a name after a point may stand for."""
        parts = (each[key] for each in map(vars, self.modules) for key in ("_parameters", "_buffers", "_modules"))
        held = [part[name] for part in (*map(vars, self.modules), *parts) if name in part]
        found = [each for value in held for each in _list_held(value)]
        bases = {base for each in self.modules for base in type(each).__mro__ if name in vars(base)} - {object}
        foreign = any(hasattr(each, name) for each in (Tensor, FunctionType, *PLACES)) or any(map(_is_of_torch, bases))
        if name not in WORDS and (foreign or not (held or bases)):
            raise Impure("is not known as pure")
        for value in (*found, *(vars(base)[name] for base in bases if not _is_of_torch(base))):
            self.check(value)


def _list_held(value: Any) -> list[Any]:
    """Return what lists and dicts of a layer hold: a recording shows whether they are changed, see `describe_model`."""
    if type(value) is dict:
        value = [*value, *value.values()]
    return [each for item in value for each in _list_held(item)] if type(value) in (list, tuple) else [value]


def _is_as_made(value: Any) -> bool:
    """Whether what torch has by some name is of torch, or of Python."""
    home = (value if isinstance(value, type) else type(value)).__module__
    if isinstance(value, FunctionType):
        home = value.__globals__.get("__name__", "")
    return not callable(value) or f"{home}.".startswith(("torch.", "typing.", "builtins."))


def _is_of_torch(value: Any) -> bool:
    """Whether a class is a layer that torch defines, with its methods, and stands where it says."""
    home = vars(sys.modules.get(value.__module__, builtins))
    # torch.compile puts its own __init__ and __setstate__ into Module.
    parts = [each for name, each in vars(value).items() if name not in UNSEEN]
    own = all(_is_as_made(each) and (type(each) is not FunctionType or each.__globals__ is home) for each in parts)
    return own and home.get(value.__name__) is value and value.__module__.startswith("torch.nn.modules.")
