"""How does a graph over one record answer for many? By `vmap`, so that no record can touch another.

The door to torch: import this inside functions only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sandbox.submissions.graph import in_place, products
from sandbox.submissions.graph.document import RecordGraph
from sandbox.submissions.graph.in_place import Made
from sandbox.submissions.graph.interpret import Program, start
from sandbox.submissions.graph.operators import DTYPES, OPERATORS

_NEAR = 2**19
"""Floats, 2 MB; this and the next two were measured on ten architectures, see benchmarks/record_graph.py."""
_FEWEST, _MOST = 2**6, 2**12


class Model:
    """A verified graph that can answer and learn. Records come as the catalogue encodes them, batch first."""

    def __init__(self, graph: RecordGraph) -> None:
        self.graph = graph
        self.trainable = tuple(w.name for w in graph.weights if w.trainable)
        every = {name: torch.from_numpy(value.copy()) for name, value in graph.values.items()}
        self.weights: dict[str, Tensor] = {name: every.pop(name) for name in self.trainable}
        self._fixed = every
        self._programs = {training: Program(graph, training=training) for training in (False, True)}

    def answers(self, features: Mapping[str, Tensor]) -> Tensor:
        """[n, outputs] for n records, each by itself, without dropout and without gradients."""
        rows = len(features[self.graph.inputs[0].name]) if self.graph.inputs else 0
        if not rows:
            blank = {s.name: torch.zeros(s.shape, dtype=DTYPES[s.dtype]) for s in self.graph.inputs}
            return self.answers(blank)[:0] if blank else torch.zeros(0, 0)
        with torch.no_grad(), flushed():
            read = {s.name: torch.split(features[s.name], self.at_once) for s in self.graph.inputs}
            portions = (dict(zip(read, parts, strict=True)) for parts in zip(*read.values(), strict=True))
            return torch.cat([self._portion(portion) for portion in portions])

    def _portion(self, records: Mapping[str, Tensor]) -> Tensor:
        """Answers of at most `at_once` records, filled up by the first to one of few sizes where that is quicker."""
        n = len(next(iter(records.values())))
        wanted = min(products.filled(n), self.at_once) if self._quick else n
        if wanted > n:
            records = {k: torch.cat([t, t[:1].expand(wanted - n, *t.shape[1:])]) for k, t in records.items()}
        return self._many(records)[:n]

    def one(self, weights: Mapping[str, Tensor], record: Mapping[str, Tensor], training: bool) -> Tensor:
        """[outputs] for one record without a batch dimension: what to give to `vmap` and `grad`.

        `weights` are values for the trainable ones.
        """
        inputs = {s.name: record[s.name].unsqueeze(0) for s in self.graph.inputs}
        return self._programs[training]({**self._fixed, **weights}, inputs).squeeze(0)

    def tapped(
        self,
        weights: Mapping[str, Tensor],
        record: Mapping[str, Tensor],
        taps: Mapping[str, Tensor],
        training: bool,
    ) -> tuple[Tensor, dict[str, tuple[Any, ...]]]:
        """As `one`, with `taps` added to the results of nodes, by name, and the arguments these nodes were given."""
        inputs = {s.name: record[s.name].unsqueeze(0) for s in self.graph.inputs}
        answer, given = self._programs[training].tapped({**self._fixed, **weights}, inputs, taps)
        return answer.squeeze(0), given

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of what each input and node gives for one record, the leading 1 included; without nodes that give several."""
        found = {name: made.shape for name, made in self._made.items() if made.dtype}
        return found | {s.name: s.shape for s in self.graph.inputs}

    def graph_with(self, weights: Mapping[str, Tensor]) -> RecordGraph:
        """The graph with these trained weights; raises Invalid unless they fit and are finite."""
        return self.graph.with_values({name: w.detach().cpu().numpy() for name, w in weights.items()})

    @cached_property
    def at_once(self) -> int:
        """So many records that the values of one step stay near the processor: twice as fast for pictures."""
        sizes = [1]
        for made in self._made.values():
            sizes += [math.prod(made.shape), *[made.kept // max(1, made.loops)] * made.loops]
        return min(max(_FEWEST, _NEAR * len(sizes) // sum(sizes)), _MOST)

    @cached_property
    def _made(self) -> dict[str, Made]:
        """What each node makes of one record, seen by answering for a blank one.

        Torch's meta device would bring the whole compiler with it: a second and 90 MB for whoever only scores.
        """
        found = {}
        with torch.inference_mode():
            blank = {s.name: torch.zeros(s.shape, dtype=DTYPES[s.dtype]) for s in self.graph.inputs}
            values = start({**self._fixed, **self.weights}, blank)
            for step in self._programs[False].steps:
                loops = OPERATORS[step.node.op].loops
                inside, kept = loops(step.make(values)) if loops else (0, 0)
                step(values)
                found[step.node.name] = Made.of(values[step.result], inside, kept)
        return found

    @cached_property
    def _scoring(self) -> Program:
        """The program without dropout, which writes over what nobody else reads; has no gradients."""
        instead = self._quick | in_place.functions(self.graph, self._made)
        return Program(self.graph, training=False, instead=instead)

    @cached_property
    def _quick(self) -> dict[str, Callable[..., Tensor]]:
        return products.layers(self.graph)

    @cached_property
    def _many(self) -> Callable[[Mapping[str, Tensor]], Tensor]:
        """Answers of many records. Weights are not given: looking through them takes time."""
        scoring = self._scoring  # made here, since inside `vmap` no library can be tried

        def answer(record: Mapping[str, Tensor]) -> Tensor:
            inputs = {s.name: record[s.name].unsqueeze(0) for s in self.graph.inputs}
            return scoring({**self._fixed, **self.weights}, inputs).squeeze(0)

        many: Callable[[Mapping[str, Tensor]], Tensor] = torch.func.vmap(answer)
        return many


@contextmanager
def flushed() -> Iterator[None]:
    """Takes numbers too small for a normal float as zero: arithmetic on them can be many times slower.

    Holds for this thread; processors that cannot do it go on as they are.
    """
    before = bool(torch.tensor(1e-310, dtype=torch.float64).mul(1.0) == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
