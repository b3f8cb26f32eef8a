"""A picture of one slice of a brain MRI -> what the model says of it. Needs numpy, Pillow and onnxruntime.

    python inference.py PICTURE                      # prints JSON

    from inference import TumorModel
    answer = TumorModel()("scan.png")                # or a PIL image, or an array

A research demo, not a medical device. The project's own code answers the same to the last digit, as its tests show; it
also reads DICOM, NIfTI and TIFF, puts volumes together, and doubts slices on which something is drawn, which takes a
fitted layer of its own and is left out here.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageChops, ImageOps

GRAPH, OURS = "onnx/model_quantized.onnx", "brain_mri_tumor"  # our block of config.json
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF")  # one picture in a file, and no surprises
FOREGROUND, LINE_SHARE, SMALLEST_HEAD = 0.12, 0.04, 0.2  # what is a head: shares of white, of a line, of the slice
PERCENTILES = 0.5, 99.5  # what becomes black and white
PROBE, EXACT = "products_of_255_and_127", 64 * 255 * 127  # an output of the graph, and what it should be
DISPLAY_NAMES = {"pituitary": "pituitary tumor", "notumor": "no tumor"}  # of the others, their own
BLANK = "The image is blank: every pixel has the same brightness. Choose a slice that shows the brain."
NO_BRAIN = "This does not look like a brain MRI. Upload one slice of a brain MRI, without frames or text."
OUT_OF_DISTRIBUTION = (
    "This is too unlike the brain MRI that the model has learned from for an answer to mean anything. "
    "Upload a plain slice that shows the whole head: T1 with or without contrast agent, T2 or FLAIR."
)
UNUSUAL = (
    "This differs from the brain MRI that the model has learned from: read the result with care, and compare it with "
    "other slices of the scan."
)
UNDECIDED = "No class reaches 50 %: the model cannot tell which one it is."
UNSEEN = "The most probable class is no tumor, but a tumor is probable enough to count as seen."
UNSURE = "The most probable class is a tumor, but it is not probable enough to count as seen."


class TumorModel:
    """The int8 model. Calls from several threads at once are safe."""

    def __init__(self, folder: str | Path = Path(__file__).parent):
        """`folder`: where the repository was downloaded to. Raises OSError, ValueError if its files do not fit."""
        self.config = json.loads((Path(folder) / "config.json").read_text())[OURS]
        graph = (Path(folder) / GRAPH).read_bytes()
        if hashlib.sha256(graph).hexdigest() != self.config["sha256"][GRAPH]:
            raise ValueError(f"{GRAPH} is not what config.json names. Download it again.")
        self.session = open_session(graph)

    def __call__(self, picture: str | Path | Image.Image | np.ndarray) -> dict:
        """What is answered to a picture as `gray` takes it: see `judge`."""
        return self.judge(frame(gray(picture), self.config["size"], self.config["margin"]))

    def judge(self, square: np.ndarray) -> dict:
        """uint8 (S, S) as `frame` gives it -> the answer; if its status is "refused", the class means nothing."""
        config, classes, limits = self.config, self.config["classes"], self.config["refusal"]
        outputs = self.session.run(["logits", "brain_score", "distance"], {"pixel_values": square[None, None]})
        (logits,), (score,), (distance,) = outputs
        scaled = logits.astype(np.float64) / config["temperature"]
        powers = np.exp(scaled - scaled.max())
        powers /= powers.sum()
        probabilities = dict(zip(classes, powers.tolist(), strict=True))
        label, *others = (classes[k] for k in np.argsort(-powers, kind="stable"))
        kept = [label, *(name for name in others if probabilities[name] >= config["prediction_set"]["keep_from"])]
        tumor, threshold = 1 - probabilities["notumor"], config["operating_point"]["threshold"]
        sees_tumor = tumor >= threshold

        doubts = []
        if score < limits["doubtful_below"] or distance >= limits["doubtful_from"]:
            doubts.append(UNUSUAL)
        if len(kept) > 1:
            *names, last = (DISPLAY_NAMES.get(name, name) for name in kept)
            doubts.append(f"{', '.join(names).capitalize()} or {last}: the model cannot tell which.")
        elif probabilities[label] < 0.5:
            doubts.append(UNDECIDED)
        elif sees_tumor != (label != "notumor"):
            doubts.append(UNSEEN if sees_tumor else UNSURE)
        refusals = {BLANK: not square.any(), NO_BRAIN: score < limits["refused_below"]}
        refusals[OUT_OF_DISTRIBUTION] = distance >= limits["refused_from"]
        refusal = next((sentence for sentence, holds in refusals.items() if holds), "")
        return {
            "status": "refused" if refusal else "doubtful" if doubts else "accepted",
            "reason": refusal or " ".join(doubts),
            "label": label,
            "prediction_set": kept,  # the classes that cannot be excluded, the most probable first
            "probabilities": probabilities,  # calibrated
            "tumor_probability": tumor,
            "threshold": threshold,  # of that probability: from here on a tumor counts as seen
            "sees_tumor": sees_tumor,
            "brain_score": float(score),  # 0..1: how sure it is that this is a brain MRI
            "distance": float(distance),  # from the training images; 1 is ordinary
        }


def gray(picture: str | Path | Image.Image | np.ndarray) -> np.ndarray:
    """A picture of one slice, upright, (height, width): 16 bits stay, color becomes luminance, what is transparent lies
    on black. An array is (height, width) of any real type, or uint8 (height, width, 3).
    """
    if isinstance(picture, np.ndarray):
        if picture.ndim == 2:
            return picture
        picture = Image.fromarray(picture)
    elif not isinstance(picture, Image.Image):
        picture = Image.open(picture, formats=FORMATS)
    picture.load()
    with suppress(Exception):  # a picture with broken EXIF is still a picture
        picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(("I", "F")):
        pixels, hidden = np.asarray(picture), picture.info.get("transparency")
        return np.where(pixels == hidden, 0, pixels) if isinstance(hidden, int) else pixels
    if picture.has_transparency_data:
        layers = picture.convert("RGBA")
        picture = ImageChops.multiply(layers.convert("L"), layers.getchannel("A"))
    return np.asarray(picture.convert("RGB").convert("L"))


def frame(pixels: np.ndarray, size: int, margin: float) -> np.ndarray:
    """A slice (height, width) -> uint8 (size, size): contrast stretched, a square around the head, black beyond."""
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2:
        ordered, pixels = np.sort(pixels, axis=None).astype(np.float32), pixels.astype(np.float32)
        places = (ordered.size - 1) * np.array(PERCENTILES) / 100
        below, above = (ordered[edge(places).astype(int)] for edge in (np.floor, np.ceil))
        low, high = below + (above - below) * (places - np.floor(places))
    else:
        pixels = np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        low, high = np.percentile(pixels, PERCENTILES)
    if high <= low:  # a tiny bright spot on a constant ground
        low, high = float(pixels.min()), float(pixels.max())
    stretched = np.clip((pixels - low) / (high - low), 0, 1) if high > low else np.zeros(pixels.shape)
    shades = (stretched * 255).round().astype(np.uint8)
    (height, width), foreground = shades.shape, shades > 255 * FOREGROUND
    rows, columns = (np.flatnonzero(foreground.mean(axis) > LINE_SHARE) for axis in (1, 0))
    top, bottom, left, right = 0, height, 0, width
    if len(rows) > SMALLEST_HEAD * height and len(columns) > SMALLEST_HEAD * width:
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = max(bottom - top, right - left) * (1 + 2 * margin)
    left, top, side = round((left + right - side) / 2), round((top + bottom - side) / 2), max(1, round(side))
    square = Image.fromarray(shades).crop((left, top, left + side, top + side))
    return np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))


def open_session(graph: bytes) -> onnxruntime.InferenceSession:
    """The graph on one core; where sums of uint8 x int8 saturate (no VNNI), with unsigned weights: the same digits."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
    blank = np.zeros(session.get_inputs()[0].shape, np.uint8)
    if session.run([PROBE], {"pixel_values": blank})[0].item() == EXACT:
        return session
    return onnxruntime.InferenceSession(unsigned(graph), options, ["CPUExecutionProvider"])


def unsigned(content: bytes) -> bytes:
    """An ONNX file with every int8 tensor as uint8 and 128 higher: it computes the same."""
    turned = bytearray(content)
    (graph,) = fields(content, slice(0, len(content)), 7)  # numbers are those of onnx.proto
    for tensor in fields(content, graph, 5):
        (kind,) = fields(content, tensor, 2)
        if content[kind] == b"\x03":  # int8; uint8 is 2
            (raw,) = fields(content, tensor, 9)
            turned[kind], turned[raw] = b"\x02", (np.frombuffer(content[raw], np.uint8) ^ 128).tobytes()
    return bytes(turned)


def fields(content: bytes, message: slice, wanted: int) -> Iterator[slice]:
    """Where the fields of one number lie in a message. Source: https://protobuf.dev/programming-guides/encoding"""
    place = message.start
    while place < message.stop:
        tag, place = varint(content, place)
        if tag & 7 == 2:
            size, place = varint(content, place)
        else:  # a number; files, graphs and tensors hold nothing else
            size = varint(content, place)[1] - place
        if tag >> 3 == wanted:
            yield slice(place, place + size)
        place += size


def varint(content: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits in each byte, the lowest first, and where it ends."""
    last = place
    while content[last] > 127:
        last += 1
    return sum((byte & 127) << 7 * i for i, byte in enumerate(content[place : last + 1])), last + 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python inference.py PICTURE")
    try:
        print(json.dumps(TumorModel()(sys.argv[1]), indent=2))
    except (OSError, ValueError) as error:
        sys.exit(str(error))
