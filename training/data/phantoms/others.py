"""Images that are no brain MRI: what the refusal must learn to refuse, and the tests with it."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .canvas import ANATOMY, Canvas, Outline, ramp, resized, warped, wobble


def draw_other(seed: int, size: int = 256) -> np.ndarray:
    """An image that is no brain MRI, always the same for the same arguments: (size, size) uint8."""
    rng = np.random.default_rng([seed, len(KINDS)])
    canvas = Canvas(size, rng)
    pixels = KINDS[rng.integers(len(KINDS))](canvas).astype(np.float32)
    turn = rng.normal(0, 0.06)
    zoom = rng.uniform(0.75, 1) / (1 + abs(turn))  # nearer and turned, but without an edge in sight
    pixels = warped(pixels, zoom * (canvas.x + turn * canvas.y), zoom * (canvas.y - turn * canvas.x))
    if rng.random() < 0.7:
        pixels = pixels + rng.normal(0, rng.uniform(0.005, 0.05), pixels.shape)
    return (np.clip(pixels, 0, 1) * 255).round().astype(np.uint8)


def _knee(canvas: Canvas) -> np.ndarray:
    """Two long bones that meet, in muscle and fat."""
    canvas.paint("leg")
    canvas.pixels *= 1 + 0.15 * canvas.noise(20)
    canvas.paint("knee", bright=canvas.rng.uniform(0.4, 0.95), joint=canvas.rng.uniform(0.1, 0.9))
    return canvas.pixels


def _chest(canvas: Canvas) -> np.ndarray:
    """Two dark lungs, ribs, a heart: a radiograph."""
    canvas.fill(ramp(1.05 - np.hypot(canvas.x, 0.5 * canvas.y), 0.2), 0.65)
    for side in (-1, 1):
        canvas.paint("lung", side=side)
        for y in np.arange(-0.7, 0.6, canvas.rng.uniform(0.15, 0.22)):
            rib = [(side * 0.08, y - 0.1), (side * 0.5, y - 0.08), (side * 0.8, y + 0.16)]
            canvas.stroke(0.55, rib, 0.045, opacity=0.45)
        canvas.paint("clavicle", side=side)
    canvas.paint("thorax")
    return canvas.pixels


def _abdomen(canvas: Canvas) -> np.ndarray:
    """A flat oval with spine and organs: a CT slice."""
    rng = canvas.rng
    body = canvas.inside(Outline.smooth((0, 0), ANATOMY["outlines"]["abdomen"], 40).grown(wobble(rng, 0.02)))
    canvas.fill(ramp(body, canvas.soft), 0.25)
    canvas.fill(ramp(body - rng.uniform(0.06, 0.16), 0.03), 0.5)
    for _ in range(int(rng.integers(5, 10))):
        center = rng.uniform((-0.55, -0.35), (0.55, 0.25))
        canvas.ellipse(rng.uniform(0.1, 0.8), center, rng.uniform(0.06, 0.26, 2), rng.uniform(0, 180), soft=0.03)
    canvas.paint("spine_axial")
    return canvas.pixels


def _hand(canvas: Canvas) -> np.ndarray:
    """Five rays of short bones."""
    fingers = []
    for angle, length in zip(np.deg2rad([150, 115, 95, 75, 58]), (0.75, 1.0, 1.1, 1.02, 0.85), strict=True):
        tip = length * np.array([0.8 * np.cos(angle), -1.25 * np.sin(angle)])
        fingers.append([(0.0, 0.55) + share * tip for share in (0.25, 0.55, 0.8, 1.0)])
    for joints in fingers:
        canvas.stroke(0.3, [(0.0, 0.55), *joints], 0.2, soft=0.04)
    canvas.stroke(0.3, [(0, 0.5), (0.02, 1.1)], 0.42, soft=0.04)
    for start, end in (bone for joints in fingers for bone in zip(joints[:-1], joints[1:], strict=True)):
        canvas.stroke(0.9, [start + 0.06 * (end - start), end - 0.06 * (end - start)], 0.075)
    canvas.stroke(0.75, [(0, 0.5), (0.02, 1.1)], 0.22, soft=0.04)
    return canvas.pixels * (1 + 0.08 * canvas.noise(canvas.rng.uniform(8, 30)))


def _text_page(canvas: Canvas) -> np.ndarray:
    """Dark words on a light page, or the other way round."""
    rng, size = canvas.rng, canvas.size
    page = Image.new("L", (size, size), 240)
    letters = list("abcdefghilmnoprstuv    ")
    for y in range(size // 16, size - size // 16, max(8, size // int(rng.integers(14, 24)))):
        words = "".join(rng.choice(letters, int(rng.integers(10, 44))))
        ImageDraw.Draw(page).text((size // 14, y), words, fill=int(rng.integers(0, 90)))
    pixels = np.asarray(page, dtype=np.float32) / 255
    return pixels if rng.random() < 0.8 else 1 - pixels


def _scenery(canvas: Canvas) -> np.ndarray:
    """Sky, hills and blobs: a photograph turned gray."""
    rng = canvas.rng
    pixels = 0.75 - 0.2 * canvas.y + 0.08 * canvas.noise(4)
    for layer in range(4):
        horizon = -0.2 + 0.3 * layer + 0.18 * canvas.noise(3 + 2 * layer)[:1]
        pixels = np.where(canvas.y > horizon, rng.uniform(0.1, 0.6) + (0.04 + 0.03 * layer) * canvas.noise(30), pixels)
    canvas.pixels = pixels.astype(np.float32)
    for _ in range(int(rng.integers(0, 5))):
        canvas.ellipse(rng.uniform(0, 1), rng.uniform(-0.8, 0.8, 2), rng.uniform(0.05, 0.3, 2), soft=0.03)
    return canvas.pixels


def _texture(canvas: Canvas) -> np.ndarray:
    """Cloudy noise of several scales that fills the image."""
    layers = sum(canvas.noise(cells) / cells ** canvas.rng.uniform(0.2, 0.8) for cells in (3, 7, 15, 31))
    return 0.5 + layers / (3 * layers.std()) * canvas.rng.uniform(0.3, 1)


def _shapes(canvas: Canvas) -> np.ndarray:
    """Boxes and disks on an even ground: a drawing or a screenshot."""
    rng, size = canvas.rng, canvas.size
    page = Image.new("L", (size, size), int(rng.integers(0, 256)))
    draw = ImageDraw.Draw(page)
    for _ in range(int(rng.integers(3, 14))):
        left, top = rng.uniform(0, 0.8 * size, 2)
        box = (left, top, left + rng.uniform(0.05, 0.4) * size, top + rng.uniform(0.05, 0.4) * size)
        (draw.rectangle if rng.random() < 0.6 else draw.ellipse)(box, fill=int(rng.integers(0, 256)))
    return np.asarray(page.filter(ImageFilter.GaussianBlur(rng.uniform(0, 2))), dtype=np.float32) / 255


def _gradient(canvas: Canvas) -> np.ndarray:
    """From dark to bright across the image."""
    angle = canvas.rng.uniform(0, 2 * np.pi)
    return 0.5 + 0.35 * (canvas.x * np.cos(angle) + canvas.y * np.sin(angle))


def _stripes(canvas: Canvas) -> np.ndarray:
    """Regular waves, bent: cloth, bricks, interference."""
    bend = resized(canvas.rng.standard_normal((4, 4)), canvas.size)
    along, across, bent = (canvas.rng.uniform(*limits) for limits in ((10, 60), (-40, 40), (0, 6)))
    return 0.5 + 0.4 * np.sin(along * canvas.x + across * canvas.y + bent * bend)


KINDS = (
    _knee,
    _chest,
    _abdomen,
    _hand,
    _text_page,
    _scenery,
    _texture,
    _shapes,
    _gradient,
    lambda canvas: canvas.rng.random(canvas.pixels.shape) * canvas.rng.uniform(0.4, 1),  # nothing but noise
    lambda canvas: np.full(canvas.pixels.shape, canvas.rng.uniform(0, 1)),  # one gray
    _stripes,
)
