"""Can a step's gradients be compiled? For portions of one size, where a C++ compiler is; else this says why not.

The engine's work is written down once, operator by operator, for a portion of fixed size, and given to
torch's compiler. Portions with fewer records are filled up with copies of one, which count for nothing
(`loop.clipped_sums`). What was compiled is held against the engine itself on made-up records before a
person's record meets it.

The door to torch: import this inside functions only.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from sandbox.submissions.graph import products
from sandbox.submissions.graph.lift import Model
from sandbox.submissions.graph.operators import DTYPES
from sandbox.training.engines import Engine, Sums, Tapped

Run = Callable[..., list[Tensor]]
Compiler = Callable[[torch.fx.GraphModule, list[Tensor]], Run]
"""Given a graph and what it will be given, its like, makes something quicker that does the same."""

APART = 1e-4
COMPILING_SECONDS, NODE_SECONDS, SAVED = 5.0, 0.5, 0.2
"""What compiling takes on a busy machine, what it takes more for each node of the graph, and the least part of a
step that it saves (docs/speed.md)."""


class Random(Exception):
    """Records are not treated alike at every step, so what was compiled cannot be held against anything."""


def pays(steps_left: int, step_seconds: float, nodes: int) -> bool:
    """Whether the steps left save more time than compiling a graph of so many nodes takes."""
    return steps_left * step_seconds * SAVED > COMPILING_SECONDS + nodes * NODE_SECONDS


def instead_of(
    engine: Engine, model: Model, weights: Mapping[str, Tensor], target: Tensor, expected: float, clip: float,
    compiler: Compiler | None = None,
) -> Engine:  # fmt: skip
    """The engine compiled; or, with a line in the log, as it is, where that cannot be or gives other sums."""
    if not isinstance(engine, Tapped):
        return _as_it_is(engine, "its graph has recurrent layers")
    made = Compiled(engine, portion(expected, engine.records_at_once), compiler or by_torch)
    try:
        apart = made.prepare(model, weights, target, clip)
    except Random:
        return _as_it_is(engine, "its graph has dropout")
    except Exception as error:  # whatever a compiler, or its absence, raises
        return _as_it_is(engine, f"compiling failed, is a C++ compiler installed? ({type(error).__name__})")
    return made if apart <= APART else _as_it_is(engine, f"what was compiled is {apart:.1e} off")


def _as_it_is(engine: Engine, why: str) -> Engine:
    logging.getLogger(__name__).warning("Training goes on without compiling: %s.", why)
    return engine


def portion(expected: float, at_once: int) -> int:
    """Records in a portion: few steps need another one than most, and none holds more than `at_once`."""
    most = expected + 2.5 * math.sqrt(expected) + 1
    return math.ceil(most / math.ceil(most / at_once))


class Compiled:
    """A `Tapped` engine for units of one record. What does not fit a portion it leaves to the engine itself."""

    def __init__(self, engine: Tapped, records: int, compiler: Compiler) -> None:
        self._engine, self._compiler = engine, compiler
        self.records_at_once = self.padded_to = records
        self._places = torch.arange(records)
        self._run: Run | None = None
        self._weights: tuple[str, ...] = ()
        self._features: tuple[str, ...] = ()

    def prepare(self, model: Model, weights: Mapping[str, Tensor], target: Tensor, clip: float) -> float:
        """Compiles; returns how far the sums on made-up records are apart from the engine's, one record not finite.

        Raises Random where the graph has dropout, and what the compiler raises.
        """
        records, n = self.padded_to, max(2, self.padded_to - 1)
        some = {
            s.name: torch.rand(records, *s.shape[1:]).mul(2).to(DTYPES[s.dtype]) for s in model.graph.inputs
        }
        for tensor in some.values():
            if tensor.is_floating_point():
                tensor[0] = float("nan")
        answers = torch.zeros(records, dtype=target.dtype)

        self._weights, self._features = tuple(weights), tuple(some)

        def work(*given: Tensor) -> list[Tensor]:
            *named, target, there, clip = given
            weights = dict(zip(self._weights, named, strict=False))
            some = dict(zip(self._features, named[len(weights) :], strict=True))
            return list(self._engine.single_sums(weights, some, target, there, clip).values())

        given = self._given(weights, some, answers, n, clip)
        traced = make_fx(work, products.decomposition())(*given)
        if any(
            torch.Tag.nondeterministic_seeded in getattr(n.target, "tags", ()) for n in traced.graph.nodes
        ):
            raise Random
        self._run = self._compiler(traced, given)
        ours = self.sums(weights, some, answers, self._places[:n], clip)
        theirs = self._engine.sums(weights, *_first(n, some, answers), self._places[:n], clip)
        largest = max(float(total.abs().max()) for total in theirs.values())
        return max(float((ours[name] - theirs[name]).abs().max()) for name in theirs) / max(largest, 1e-6)

    def sums(
        self,
        weights: Mapping[str, Tensor],
        features: Mapping[str, Tensor],
        target: Tensor,
        owners: Tensor,
        clip: float,
    ) -> Sums:
        n = len(owners)
        if self._run is None or len(target) != self.padded_to or n != int(owners[-1]) + 1:
            return self._engine.sums(weights, *_first(n, features, target), owners, clip)
        found = self._run(*self._given(weights, features, target, n, clip))
        return dict(zip(self._weights, found, strict=True))

    def _given(
        self,
        weights: Mapping[str, Tensor],
        features: Mapping[str, Tensor],
        target: Tensor,
        n: int,
        clip: float,
    ) -> list[Tensor]:
        """What the compiled graph takes, in its order."""
        named = [*(weights[name] for name in self._weights), *(features[name] for name in self._features)]
        return [*named, target, self._places < n, torch.tensor(clip)]


def _first(n: int, features: Mapping[str, Tensor], target: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Without the padding."""
    return {name: tensor[:n] for name, tensor in features.items()}, target[:n]


def by_torch(graph: torch.fx.GraphModule, given: list[Tensor]) -> Run:
    """torch's compiler; what it writes lies in a folder that nobody else can write to, gone when the process ends.

    Raises where none works.

    Not by `torch.compile`, which asks at every step whether it has seen such tensors: a tenth of an MLP's step.
    """
    from torch import _inductor

    if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder = tempfile.mkdtemp(prefix="ndl-compiled-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    run: Run = _inductor.compile(graph, [*given])
    return run
