"""What would this training take: how much of the privacy budget, how long, how many parameters?"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sandbox.catalogue.card import Card
from sandbox.errors import BudgetExhausted
from sandbox.privacy import accounting, ledger
from sandbox.privacy.budgets import Held
from sandbox.records import Json
from sandbox.training.plan import Plan


@dataclass(frozen=True)
class Quote:
    """`share` is of the dataset's whole training budget, by the ledger's own rule; `fits` says how many such
    trainings an untouched one holds. `seconds_per_step` is of one thread of the machine that was asked.
    """

    units: int
    epsilon: float
    delta: float
    adjacency: str
    unit: str
    noise_multiplier: float
    steps: int
    batch: float
    clip: float
    learning_rate: float
    pool: str
    budget_epsilon: float
    budget_delta: float
    share: float
    fits: int
    parameters: int | None = None
    seconds_per_step: float | None = None

    @property
    def seconds(self) -> float | None:
        return None if self.seconds_per_step is None else self.seconds_per_step * self.steps

    def must_fit(self) -> None:
        """Raises BudgetExhausted when not even an untouched budget holds this training."""
        if not self.fits:
            raise BudgetExhausted(self.pool, self.epsilon, self.budget_epsilon)

    def to_json(self) -> Json:
        return {**asdict(self), "seconds": self.seconds}


def quote_of(chosen: Plan, card: Card) -> Quote:
    """The quote of a calibrated plan; what has to be measured is left open."""
    event = accounting.dp_sgd_event(chosen.noise_multiplier, chosen.sampling_rate, chosen.steps)
    pool, promised = ledger.training_pool(card), card.budget.training
    budget = ledger.budget_asked(pool, promised)
    fits = budget.fits(event, Held())
    slot = {budget.place(event, Held()): 1} if fits else {}
    return Quote(
        units=chosen.units,
        epsilon=accounting.epsilon_of([event], chosen.delta),
        delta=chosen.delta,
        adjacency=accounting.ADJACENCY,
        unit=card.unit,
        noise_multiplier=chosen.noise_multiplier,
        steps=chosen.steps,
        batch=chosen.expected_batch,
        clip=chosen.clip,
        learning_rate=chosen.learning_rate,
        pool=pool,
        budget_epsilon=promised.epsilon,
        budget_delta=promised.delta,
        share=budget.share(Held({accounting.canonical(event): 1}, slot)),
        fits=fits,
    )
