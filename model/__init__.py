"""The network and everything that needs only the network: config, forward pass, generation, LoRA, export, serving.

Nothing here depends on curation or training (`pipeline/`): the folder can be copied and used alone.
"""

import os

# torch's threads spin for milliseconds while they wait for each other. If other programs use the machine, the thread
# that they wait for gets no processor: with one busy program, a step took 7.9 s instead of 1.0 s
# (docs/results/training-speed.md). Read when torch is loaded; a value that the user sets takes precedence.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
