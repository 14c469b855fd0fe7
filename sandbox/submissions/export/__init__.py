"""From a developer's module to a record graph; what runs in Z1, and how its bytes are received."""
