"""The cost of a training run, computed before it starts: steps, memory, time."""
