"""Where records are kept: one database, every change audited in the same transaction."""

from sandbox.storage.store import Store, Transaction

__all__ = ["Store", "Transaction"]
