"""Run training.train in double precision and without the export, so that runs can be compared to the ninth digit.

    python -m tests.exact_training --data DIR --out DIR ...      # the options of training.train

Rounding grows fast in a network that starts from random weights: in float32 it would hide what a test looks for.
KILLED_IN_BATCH="RANK NUMBER" has that process kill itself in that batch of its own.
"""

import os
import signal

import torch

torch.set_default_dtype(torch.float64)
torch.Tensor.float = torch.Tensor.double  # what the network and the norms ask for where they want full precision

from training import train  # noqa: E402


def main() -> None:
    draw_batch, drawn = train.draw_batch, 0
    rank, number = os.environ.get("KILLED_IN_BATCH", "-1 0").split()

    def draw(*arguments):
        nonlocal drawn
        drawn += 1
        if os.environ.get("RANK") == rank and drawn == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        return draw_batch(*arguments)

    train.draw_batch = draw
    train.bf16_is_fast = lambda device: False
    train.export = lambda run: run
    train.main()


if __name__ == "__main__":
    main()
