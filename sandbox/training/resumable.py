"""How does something go on after a crash? Its state is written down, a tensor for each thing it depends on, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

State = Mapping[str, "Tensor"]


class Stateful(Protocol):
    """What can say all that it depends on."""

    def state(self) -> State: ...


class Resumable(Stateful, Protocol):
    """What can be taken up again: given the same input, it then goes on as if it had never stopped."""

    def take_up(self, state: State) -> None: ...


class Sums:
    """What adds up in the attributes that `_KEPT` names: truths, numbers, arrays, and lists of numbers or equal arrays.

    Subclasses begin with all of these set.
    """

    _KEPT: ClassVar[tuple[str, ...]]

    def state(self) -> dict[str, Tensor]:
        import torch

        return {name: torch.from_numpy(np.array(getattr(self, name), order="C")) for name in self._KEPT}

    def take_up(self, state: State) -> None:
        for name in self._KEPT:
            setattr(self, name, _as(type(getattr(self, name)), state[name]))


def together(parts: Mapping[str, Stateful]) -> dict[str, Tensor]:
    """The states of several parts as one."""
    return {f"{part}.{name}": value for part, one in parts.items() for name, value in one.state().items()}


def part_of(state: State, part: str) -> dict[str, Tensor]:
    """The state of one of them."""
    return {
        name.removeprefix(f"{part}."): value for name, value in state.items() if name.startswith(f"{part}.")
    }


def _as(kind: type[Any], value: Tensor) -> Any:
    if issubclass(kind, list):
        return list(value.numpy().copy())
    return value.numpy().copy() if issubclass(kind, np.ndarray) else kind(value.item())
