"""What does the model cost? Time to answer, size, CPU for training and evaluation, and an estimate of the energy.

Times are of the machine and moment that counted the wave: measured once and kept with its tally, so that asking
again gives the same, but another machine would have given others. They have no interval, for they are of this one
run. Time to answer is taken on up to SAMPLE records that the model was asked about before (no first call in it);
the CPU of an evaluation is for reading and encoding all records and asking the model, to which counting adds about a
tenth; that of a training is of the thread that finished it. Energy is CPU seconds times `evaluation.watts_a_core`
of the settings: an estimate, and no more exact than that figure.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import thread_time

import numpy as np

from evaluators.base import Context, evaluator, too_few
from evaluators.scoring import Batch
from sandbox.records import Measurement
from sandbox.tally import Axis, Table, Tally

SAMPLE = 1_000
_SPENT = Axis("spent", ("records asked about", "microseconds asking", "microseconds evaluating"))


def count(batch: Batch) -> Tally:
    """Not records but sums: they add as counts do."""
    began = thread_time()
    if len(batch.said):
        batch.ask(batch.features)
    asking = thread_time() - began
    spent = np.array([len(batch.said), round(asking * 1e6), round(batch.seconds * 1e6)], np.int64)
    return Tally({"cost": Table((_SPENT,), spent)})


@evaluator("cost", version=1, tables=count, sample=SAMPLE)
def cost(context: Context) -> Iterator[Measurement]:
    asked, asking, evaluating = (int(spent) for spent in context.tally["cost"].counts)
    rows, watts = context.tally["score"].total, context.settings.watts_a_core
    if asked < context.minimum:
        yield too_few("answer_ms_per_1000", asked)
    else:
        yield Measurement(
            "answer_ms_per_1000", asking / asked, asked
        )  # microseconds each are milliseconds a thousand
    if rows < context.minimum:
        yield from (too_few(name, rows) for name in ("evaluation_cpu_seconds", "evaluation_joules"))
    else:
        yield Measurement("evaluation_cpu_seconds", evaluating / 1e6, rows)
        yield Measurement("evaluation_joules", evaluating / 1e6 * watts, rows)
    seconds, size = context.origin.seconds, context.origin.graph.get("parameters")
    units = int(context.origin.certificate.get("units", 0))
    yield _or_unknown("training_cpu_seconds", seconds, units)
    yield _or_unknown("training_joules", None if seconds is None else seconds * watts, units)
    yield _or_unknown("parameters", size, 1)


def _or_unknown(name: str, value: float | None, n: int) -> Measurement:
    if value is None:
        return Measurement(name, None, n, status="not recorded")
    return Measurement(name, float(value), n)
