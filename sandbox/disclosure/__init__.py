"""What may leave? Noise on tallies, rules for outputs, and the exit gate that makes a release."""
