"""What the shipped weights answer to the drawn examples on this processor, as JSON: python -m tests.golden"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from model import graph
from model.artifact import EMBEDDED, read_config, read_graph
from model.preprocess import frame


def golden() -> dict:
    """{exact: whether int8 weights are multiplied exactly, turned: whether others answer, logits, brain_score}"""
    config = read_config(EMBEDDED)
    content, turned = read_graph(EMBEDDED, "int8", config), []
    turn = graph.with_unsigned_weights
    graph.with_unsigned_weights = lambda content: turned.append(True) or turn(content)
    loaded = graph.Graph(content, config["size"], ["logits", "brain_score"])
    pictures = sorted((Path(__file__).parents[1] / "examples").glob("*.png"))[::4]
    slices = [np.asarray(Image.open(picture).convert("L")) for picture in pictures]
    frames = [frame(pixels, config["size"], config["margin"])[0] for pixels in slices]
    answers = [loaded.run(square) for square in frames]
    logits, scores = (np.concatenate(parts).tolist() for parts in zip(*answers, strict=True))
    exact = graph.multiplies_exactly(graph._session(content), frames[0])
    return {"exact": exact, "turned": bool(turned), "logits": logits, "brain_score": scores}


if __name__ == "__main__":
    print(json.dumps(golden()))
