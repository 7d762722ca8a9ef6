"""The network and what is done with it alone: its shape, forward pass, generation, adapters, export and serving.

Nothing here knows how text is curated or how training is run (`pipeline/`): the folder can be copied and used alone.
"""

import os

# torch's threads wait for each other by spinning, for milliseconds. Where anything else runs on the machine, the one
# that is waited for then gets no processor: beside one busy program a step took 7.9 s instead of 1.0
# (docs/results/training-speed.md). Read when torch is loaded; somebody's own choice stays.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
