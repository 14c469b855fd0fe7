"""Wall 1: developer Python runs here, where there is no data, and hands over bytes."""
