"""Whole `model.py` files to start from. Each is admitted unchanged; see sandbox.submissions.admission."""
