"""One table of what training, an answer and the reading of a file cost, beside the ordinary ways, ratios first.

    python -m training.benchmark                                 # all of it: a quarter of an hour on a quiet machine
    python -m training.benchmark --json runs/speed.json          # and into a file, which training.card takes
    python -m training.benchmark --only inference --quick        # one part, few rounds
    python -m training.benchmark --only training --data DIR --batch 256    # training on class folders, not drawn heads

Contestants take turns, so that a busy machine is busy for each: ratios hold where milliseconds do not. Each file does
one thing: turns.py takes turns, contestants.py knows the networks, inference.py times them, alone.py is a process for
one of them, training_step.py times training, files.py makes the files that reading.py reads, table.py prints.
"""
