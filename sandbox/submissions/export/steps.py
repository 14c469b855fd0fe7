"""What is there to know about one step of a traced program? What it does, gives, and where it was written."""

from __future__ import annotations

from typing import Any

import torch
from torch._ops import OpOverload
from torch.fx import Node as Step

from sandbox.submissions.export import places
from sandbox.submissions.graph.operators import OPERATORS
from sandbox.submissions.graph.reading import MAX_TEXT


def draws(step: Step) -> bool:
    """Does it draw random numbers that are not ours to switch?"""
    tags = step.target.tags if isinstance(step.target, OpOverload) else []
    return torch.Tag.nondeterministic_seeded in tags and str(step.target) not in OPERATORS


def masks(step: Step) -> bool:
    """Does it index by truth values?"""
    indices: Any = step.args[1]
    return any(isinstance(i, Step) and meta(i).dtype == torch.bool for i in indices)


def meta(step: Step) -> Any:
    """A tensor without values in the shape of what the step gives; of dropout's two results, the first."""
    found = step.meta.get("val")
    return found[0] if name(step) == "native_dropout" and isinstance(found, tuple | list) else found


def shape(step: Step) -> tuple[int, ...]:
    return tuple(meta(step).shape)


def name(step: Step) -> str:
    """The operator's name without namespace and overload."""
    target: Any = step.target
    packet = getattr(target, "overloadpacket", target)
    return str(getattr(packet, "__name__", packet))


def module(step: Step) -> tuple[str, str]:
    stack = list((step.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    return str(path).partition("@")[0], str(getattr(kind, "__qualname__", kind)).rpartition(".")[2]


def where(step: Step) -> str:
    path, kind = module(step)
    place = f"{path or 'forward'} ({kind})" if kind else path or "forward"
    line = places.of_stack(step.meta.get("stack_trace"))
    return f"{place}, {line}" if line else place


def plain(text: str) -> str:
    """Printable ASCII of bounded length: these texts are shown to overseers."""
    ascii_only = text.encode("ascii", "backslashreplace").decode()
    return "".join(c if c.isprintable() else "?" for c in ascii_only)[:MAX_TEXT]
