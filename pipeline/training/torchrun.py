"""torchrun, whose end is a sentence: `python -m pipeline.training.torchrun`, with torchrun's options.

torchrun reports a process that ended, and a node that does not come, by tables and tracebacks of its own program. What
a process had to say it has said before: here the rest is one sentence, which says what ended and what to do.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence

# torch 2.13 keeps the address of the processes' store from one round of the rendezvous to the next without telling it a
# node that is new in the second, which then waits for it in vain. With this, every round makes a store of its own.
STORE_OF_EACH_ROUND = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
CPP_LOG = "TORCH_CPP_LOG_LEVEL"
AGAIN = "start the same command again on every node, and the training resumes from its last checkpoint"


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the processes of this node as torchrun does; returns the exit code.

    It is that of the process that failed first on this node; 1 if a signal ended it, or if the nodes do not meet.
    """
    os.environ.setdefault(STORE_OF_EACH_ROUND, "1")
    os.environ.setdefault(CPP_LOG, "FATAL")  # of this program, as torch reads it when it is imported
    from torch.distributed import DistError, run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import api

    if os.environ[CPP_LOG] == "FATAL":
        os.environ[CPP_LOG] = "ERROR"  # of those that it starts
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # it tells the same, at greater length
    options = run.parse_args(None if arguments is None else list(arguments))
    where = options.rdzv_endpoint or "the first node"
    try:
        run.run(options)
        return 0
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        code = failure.exitcode
        said = f"was killed by {failure.signal_name()}" if code < 0 else f"ended with code {code}; it says why above"
        told = f"process {rank} of this training {said}; {AGAIN}"
    except SignalException as error:
        code, told = 1, f"stopped by {signal.Signals(error.sigval).name}; {AGAIN}"
    except api.RendezvousTimeoutError:
        code, told = 1, f"not all of {options.nnodes} nodes came to {where} in time; {AGAIN}"
    except (api.RendezvousClosedError, api.RendezvousGracefulExitError):
        code, told = 1, f"another node has ended this training at {where} and says why; {AGAIN}"
    except (api.RendezvousError, DistError):
        code, told = 1, f"no node answers at {where}, where they meet (--rdzv-endpoint); {AGAIN}"
    print(f"slm: {told}.", file=sys.stderr, flush=True)
    return max(code, 1)


if __name__ == "__main__":
    sys.exit(main())
