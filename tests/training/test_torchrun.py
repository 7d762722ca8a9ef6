"""What our torchrun says when a process or a node is gone: one sentence, and the exit code of the process."""

import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
SEVERAL = """
    import sys
    from pipeline.training import torchrun

    alone = ["--nproc-per-node=1", "--no-python", "sh", "-c"]
    for options in (  # `$$` is one `$` in what torchrun starts
        [*alone, "exit 0"],
        [*alone, "exit 3"],
        [*alone, "kill -9 $$$$"],
        ["--nnodes=2", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:1", "--rdzv-conf=is_host=0,read_timeout=1",
         "--rdzv-id=x", *alone, "exit 0"],
        ["--nnodes=2", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--rdzv-conf=join_timeout=1",
         "--rdzv-id=x", *alone, "exit 0"],
    ):
        print(torchrun.main(options), flush=True)
"""


def test_the_end_of_a_process_or_a_missing_node_is_one_sentence():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SEVERAL)], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert done.stdout.split() == ["0", "3", "1", "1", "1"]
    again = "; start the same command again on every node, and the training resumes from its last checkpoint."
    assert done.stderr.splitlines() == [
        f"slm: {told}{again}"
        for told in (
            "process 0 of this training ended with code 3; it says why above",
            "process 0 of this training was killed by SIGKILL",
            "no node answers at 127.0.0.1:1, where they meet (--rdzv-endpoint)",
            "not all of 2 nodes came to 127.0.0.1:0 in time",
        )
    ]
