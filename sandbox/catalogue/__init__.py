"""Which datasets and waves there are, what their cards promise, and how a record becomes tensors."""
