"""Annotations drawn on slices: draw some, fit what separates them from tissue, measure what they do to the answers.

    python -m training.evaluation.marks --data ../shared/data/pool --volumes ../shared/data/healthy_heads --fit
    python -m training.evaluation.marks --data ../shared/data/pool --split val
    python -m training.evaluation.marks --data ../shared/data/external --split all

Without --fit it prints how many ordinary slices are called drawn on, and, after one mark was drawn on each accepted
one, how many are found, and how many change class and are still accepted, without the rule and with it.
"""

import argparse
import json
import math
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.neural_network import MLPClassifier

from model import CLASSES, NO_TUMOR, marks, scans
from model.artifact import EMBEDDED
from model.classifier import TumorClassifier
from model.scans import Scan, planes

from ..data.frames import read_dataset
from ..data.phantoms import draw_phantom, draw_volume

SHAPES = ("ellipse", "arrow", "rectangle", "letters", "cross", "ruler", "freehand")
WHITE = (255, 255, 255)
COLORS = {"white": WHITE, "outlined": WHITE, "red": (255, 0, 0), "yellow": (255, 255, 0), "green": (0, 255, 0)}
SIDES = (256, 320, 512, 768, 1024)  # pixels of the longer side, to which a slice is enlarged before it is drawn on
FINE = 4  # an antialiased mark is drawn so many times larger
FALSE_ALARMS = 0.001  # of the ordinary slices of a fit are called drawn on
NEURONS = 32
PHANTOMS = 250
EVERY = 6  # slices of a volume


def draw(
    image: np.ndarray, rng: np.random.Generator, side: int, color: str = "", shape: str = "", thick: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """One mark somewhere on the head: uint8 (h, w) -> uint8 (H, W, 3), whose longer side is `side`, and where it lies.

    Args: `color`, one of `COLORS`, `shape`, one of `SHAPES`, `thick`, 1 to 5 pixels; what is not given is drawn by lot.
    Returns: the picture, and float32 (H, W), what share of each pixel the mark covers.
    """
    gray = _enlarged(image, side)
    height, width = gray.shape
    color, shape = color or str(rng.choice(list(COLORS))), shape or str(rng.choice(SHAPES))
    thick, reach = thick or int(rng.integers(1, 6)), side * rng.uniform(0.05, 0.2)
    top, left, half_height, half_width = marks.head_ellipse(gray)
    middle = np.array((left + rng.uniform(-0.6, 0.6) * half_width, top + rng.uniform(-0.6, 0.6) * half_height))
    fine, dashed = int(rng.choice((1, FINE))), rng.random() < 0.2
    lines = [] if shape == "letters" else [line * reach + middle for line in _strokes(shape, rng)]
    letters = "".join(rng.choice(list("ABCDEFHKLMNRTX12345"), int(rng.integers(1, 4))))

    def cover(extra: int) -> np.ndarray:
        canvas = Image.new("L", (width * fine, height * fine))
        pen = ImageDraw.Draw(canvas)
        pen.fontmode = "1" if fine == 1 else "L"
        if shape == "letters":
            font = ImageFont.load_default(max(8, reach) * fine)
            pen.text(tuple(middle * fine), letters, 255, font, anchor="mm", stroke_width=extra * fine)
        for line in lines:
            for piece in _dashes(line, max(4, 3 * thick)) if dashed else [line]:
                pen.line([tuple(point) for point in piece * fine], 255, (thick + 2 * extra) * fine, joint="curve")
        return np.asarray(canvas.resize((width, height), Image.Resampling.BOX), np.float32) / 255

    drawn, covered = np.repeat(gray[..., None].astype(np.float32), 3, axis=2), cover(0)
    if color == "outlined":
        drawn *= 1 - cover(1)[..., None]
    drawn += (np.array(COLORS[color]) - drawn) * covered[..., None]
    drawn = drawn.round().astype(np.uint8)
    if rng.random() < 0.35:
        file = BytesIO()
        Image.fromarray(drawn).save(file, "JPEG", quality=int(rng.integers(70, 96)))
        drawn = np.asarray(Image.open(file))
    return drawn, covered


def _strokes(shape: str, rng: np.random.Generator) -> list[np.ndarray]:
    """The lines of a shape, each float (points, 2): x, y within about -1..1."""
    angle, flat = rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 1)
    turn = np.array(((math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))))
    around = np.linspace(0, 2 * math.pi, 64)
    circle = np.stack((np.cos(around), np.sin(around)), axis=1)
    if shape == "rectangle":
        return [np.array(((-1, -flat), (1, -flat), (1, flat), (-1, flat), (-1, -flat)))]
    if shape == "ellipse":
        lines = [circle * (1, flat)]
    elif shape == "freehand":
        waves = sum(rng.normal(0, 0.2 / k) * np.cos(k * around + rng.uniform(0, 6)) for k in range(1, 5))
        lines = [(circle * (0.8 * (1 + waves))[:, None])[: int(rng.integers(32, 65))]]
    elif shape == "arrow":
        lines = [((-1, 0), (1, 0)), ((0.5, -0.35), (1, 0), (0.5, 0.35))]
    elif shape == "cross":
        lines = [((-1, 0), (1, 0)), ((0, -1), (0, 1))]
    else:
        ticks = np.linspace(-1, 1, int(rng.integers(2, 9)))
        lines = [((-1, 0), (1, 0)), *(((x, -0.12), (x, 0.12)) for x in ticks)]
    return [np.array(line) @ turn for line in lines]


def _dashes(line: np.ndarray, length: float) -> list[np.ndarray]:
    along = np.concatenate(([0], np.hypot(*np.diff(line, axis=0).T).cumsum()))
    pieces = (np.linspace(start, min(start + length, along[-1]), 8) for start in np.arange(0, along[-1], 2 * length))
    return [np.stack([np.interp(piece, along, axis) for axis in line.T], axis=1) for piece in pieces]


def fit(slices: list[np.ndarray], volumes: list[np.ndarray]) -> dict[str, list]:
    """What `marks.LINES` holds, fitted to slices and phantoms, uint8, without and with a mark, and to volumes.

    Some are enlarged, so that it is the line that tells and not the size, and some shown in a narrow window, which
    makes white what no one drew. The bias lets `FALSE_ALARMS` of all slices pass.
    """
    rng = np.random.default_rng(0)
    heads = [draw_phantom(str(rng.choice(CLASSES)), seed, 320).image // 4 * 4 for seed in range(PHANTOMS)]
    for seed in range(PHANTOMS // 20):  # and in all planes, with 64 gray levels as in examples/
        volume = draw_volume("notumor", 1000 + seed, 24, 160, ("t1", "t2", "t1c", "flair")[seed % 4]) // 4 * 4
        cuts = planes(Scan(list(volume), "", "axial", (5.0, 1.4))).values()
        heads += [pixels for cut in cuts for pixels in cut.slices[::4]]
    shown = [*slices, *heads, *volumes]
    shown += [_enlarged(pixels, int(rng.choice(SIDES[1:4]))) for pixels in slices[::4]]
    shown += [windowed(pixels, rng.uniform(1.2, 3.5)) for pixels in (*slices[1::3], *heads, *heads, *heads)]
    plain = [marks.signs_of_lines(pixels)[0] for pixels in shown]
    drawn = []
    for pixels in (*slices, *heads):
        side = max(pixels.shape) if rng.random() < 0.4 else int(rng.choice(SIDES))
        pixels = windowed(pixels, rng.uniform(1, 2)) if rng.random() < 0.2 else pixels
        picture, covered = draw(pixels, rng, side, color=str(rng.choice(("white", "outlined"))))
        found, middles = marks.signs_of_lines(np.asarray(Image.fromarray(picture).convert("L")))
        row, column = np.clip(middles.T, 0, np.array(covered.shape)[:, None] - 1)
        drawn.append(found[covered[row, column] > 0.4])
    samples = np.concatenate((*plain, *drawn))
    labels = np.arange(len(samples)) >= sum(map(len, plain))
    mean, scale = samples.mean(0), samples.std(0)
    rules = {"activation": "tanh", "learning_rate_init": 3e-3, "batch_size": 512, "max_iter": 60, "random_state": 0}
    net = MLPClassifier(NEURONS, **rules).fit((samples - mean) / scale, labels)
    (inner, outer), (inner_bias, bias) = net.coefs_, net.intercepts_
    parts = {"mean": mean, "scale": scale, "inner": inner, "inner_bias": inner_bias}
    parts |= {"outer": outer[:, 0], "bias": bias[0]}
    highest = [marks.score(found, **parts).max(initial=-99) for found in plain]
    parts["bias"] = bias[0] - max(0, np.quantile(highest, 1 - FALSE_ALARMS))
    return {name: np.round(values, 4).tolist() for name, values in parts.items()}


def windowed(pixels: np.ndarray, gain: float) -> np.ndarray:
    """uint8: brighter, and white where that is brighter than white."""
    return np.clip(pixels * float(gain), 0, 255).astype(np.uint8)


def _enlarged(pixels: np.ndarray, side: int) -> np.ndarray:
    height, width = (round(length * side / max(pixels.shape)) for length in pixels.shape)
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def measure(classifier: TumorClassifier, slices: list[np.ndarray]) -> dict:
    """What marks do to the answers: counts, and in "alarms" the indices of slices called drawn on without a mark.

    Before and after: without and with the rule that calls such slices doubtful.
    """
    rng = np.random.default_rng(1)
    plain = classifier.predict(slices)
    alarms = [i for i, made in enumerate(plain) if marks.DRAWN_ON in made.about_slice]
    rows = []
    for image, before in zip(slices, plain, strict=True):
        if before.status == "accepted":
            side = max(image.shape) if rng.random() < 0.4 else int(rng.choice(SIDES))
            picture, _ = draw(image, rng, side)
            (made,) = classifier.predict([np.asarray(Image.fromarray(picture).convert("L"))])
            other = made.about_slice.replace(marks.DRAWN_ON, "").strip()
            found = marks.DRAWN_ON in made.about_slice or marks.has_color(picture)
            kept = made.status != "refused" and not other and not made.about_answer
            rows.append((found, kept and made.label != before.label, before.label == CLASSES[NO_TUMOR]))
    found, changed, normal = np.array(rows, dtype=bool).reshape(-1, 3).T
    counts = {"found": found, "changed_before": changed, "changed_after": changed & ~found, "normals": normal}
    counts |= {"to_tumor_before": changed & normal, "to_tumor_after": changed & normal & ~found}
    totals = {"slices": len(slices), "false_alarms": len(alarms), "accepted": len(rows), "alarms": alarms}
    return totals | {name: int(part.sum()) for name, part in counts.items()}


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.marks", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of images")
    parser.add_argument("--split", default="val", help="which of them are measured; all for every one (default: val)")
    parser.add_argument("--volumes", type=Path, help="folder of NIfTI volumes without marks, to fit")
    parser.add_argument("--fit", action="store_true", help="fit to the training split, and write model/marks.json")
    options = parser.parse_args(arguments)
    dataset = read_dataset(options.data)
    part = dataset if options.split == "all" else dataset.where("train" if options.fit else options.split)
    slices = [scans.read(record.path).slices[0] for record in part.records]
    if options.fit:
        files = sorted(options.volumes.glob("*.nii*")) if options.volumes else []
        cuts = [cut for file in files for cut in planes(scans.read(file)).values()]
        volumes = [pixels for cut in cuts for pixels in cut.slices[::EVERY]]
        text = json.dumps(fit(slices, volumes), separators=(",", ":")).replace('],"', '],\n"') + "\n"
        Path(marks.__file__).with_name("marks.json").write_text(text)
        return 0
    report = measure(TumorClassifier.from_folder(EMBEDDED), slices)
    report["alarms"] = [part.records[i].id for i in report["alarms"]]
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
