"""The whole job on real data, from the first record to the public page, in one command."""
