"""Wall 2: a model as data. Operators from one table over ONE record, and raw weights; never Python."""
