"""What training took from the socket: an estimate, since nothing metered it.

Formula and constants: Lannelongue et al. 2021, Green Algorithms, doi:10.1002/advs.202100707.
"""

CORE_WATTS = 12.0  # of a core at work, where the processor is not known
MEMORY_WATTS = 0.3725  # of each GiB that is there, in use or not
OVERHEAD = 1.67  # what a data center draws for each watt of its computers, on average
GPU_WATTS = {  # the board's limit by NVIDIA's data sheets, SXM where there are two; names as PyTorch gives them
    **{"H200": 700, "H100": 700, "A100": 400, "V100": 300, "L40S": 350, "A10G": 300, "A10": 150, "L4": 72, "T4": 70},
    **{"RTX 4090": 450, "RTX 3090": 350},
}


def energy(training: dict) -> str | None:
    """The estimate with its terms, in a sentence; None if time or machine were not recorded.

    `training`: section of metrics.json.
    """
    hardware, settings = training.get("hardware", {}), training.get("settings", {})
    if "seconds" not in training or "cores" not in hardware:
        return None
    gpu, processes = hardware.get("gpu", ""), training.get("starts", [{}])[-1].get("processes", 1)
    terms = []
    if gpu:
        board = next((watts for name, watts in GPU_WATTS.items() if name in gpu), None)
        if board is None:
            return f"not estimated: the power of {gpu} is not listed in training/evaluation/card/energy.py"
        terms.append((f"{processes} x {board} W", processes * board))
    cores = processes * settings.get("threads", 0) or (processes if gpu else hardware["cores"])  # a GPU busies a core
    terms.append((f"{cores} {'core' if cores == 1 else 'cores'} x {CORE_WATTS:g} W", cores * CORE_WATTS))
    memory = hardware.get("memory_gib", 0)
    terms.append((f"{memory} GiB x {MEMORY_WATTS} W", memory * MEMORY_WATTS))
    hours = training["seconds"] / 3600
    total = hours * sum(watts for _, watts in terms) * OVERHEAD / 1000
    return (
        f"about {total:.2g} kWh for this run, the search for its recipe not counted: an estimate from {hours:.2f} h x "
        f"({' + '.join(words for words, _ in terms)}) x {OVERHEAD} for the data center, never metered"
    )
