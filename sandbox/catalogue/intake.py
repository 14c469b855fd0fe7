"""How do datasets and waves come in, and how are they read again? The catalogue's door for others.

`data/<dataset>/` keeps the card, the training side and each accepted wave; `quarantine/<dataset>/`
keeps what failed. Budgets open in the same transaction as the records they protect.
"""

from sandbox.catalogue.dataset_intake import add_dataset
from sandbox.catalogue.stored import card_of, read_training, read_wave
from sandbox.catalogue.wave_intake import add_wave

__all__ = ["add_dataset", "add_wave", "card_of", "read_training", "read_wave"]
