"""Images that are no brain MRI: what the refusal must learn to refuse, and the tests with it."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training.data.phantoms.canvas import Canvas, Outline, ramp, resized, warped
from training.data.phantoms.tissue import wobble


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


def knee(canvas: Canvas) -> np.ndarray:
    """Two long bones that meet, in muscle and fat."""
    rng = canvas.rng
    for width, value in ((1.25, 0.85), (1.1, 0.35)):
        canvas.stroke(value, [(-0.1, -1.2), (0.0, 0.0), (0.05, 1.2)], [width, 0.85 * width, 0.75 * width], soft=0.03)
    canvas.pixels *= 1 + 0.15 * canvas.noise(20)
    for value, shrink in ((0.05, 0.0), (rng.uniform(0.4, 0.95), 0.035)):
        canvas.stroke(value, [(-0.1, -1.2), (-0.05, -0.4), (0.0, -0.12)], [0.34 - shrink, 0.36 - shrink, 0.62 - shrink])
        canvas.stroke(value, [(0.0, 0.2), (0.0, 0.5), (0.05, 1.2)], [0.6 - shrink, 0.4 - shrink, 0.32 - shrink])
        canvas.ellipse(value, (-0.42, -0.15), 0.11 - shrink, 0.2 - shrink, 10)
    canvas.ellipse(rng.uniform(0.1, 0.9), (0.0, 0.04), 0.3, 0.05)
    return canvas.pixels


def chest(canvas: Canvas) -> np.ndarray:
    """Two dark lungs, ribs, a heart: a radiograph."""
    rng = canvas.rng
    canvas.fill(ramp(1.05 - np.hypot(canvas.x, 0.5 * canvas.y), 0.2), 0.65)
    for side in (-1, 1):
        canvas.ellipse(0.15, (side * 0.42, -0.05), 0.33, 0.66, side * 6, soft=0.12)
        for y in np.arange(-0.7, 0.6, rng.uniform(0.15, 0.22)):
            canvas.stroke(
                0.55, [(side * 0.08, y - 0.1), (side * 0.5, y - 0.08), (side * 0.8, y + 0.16)], 0.045, opacity=0.45
            )
        canvas.stroke(0.8, [(side * 0.1, -0.72), (side * 0.5, -0.84), (side * 0.85, -0.78)], 0.06, opacity=0.7)
    canvas.stroke(0.85, [(0, -1), (0, 1)], 0.16, soft=0.05)
    canvas.ellipse(0.8, (0.14, 0.3), 0.34, 0.28, -25, soft=0.1)
    canvas.ellipse(0.75, (-0.4, 0.85), 0.6, 0.3, soft=0.1)
    return canvas.pixels


def abdomen(canvas: Canvas) -> np.ndarray:
    """A flat oval with spine and organs: a CT slice."""
    rng = canvas.rng
    body = Outline((0, 0), {0: 0.9, 90: 0.6, 180: 0.9, 270: 0.62}, 40).grown(wobble(rng, 0.02))
    canvas.fill(ramp(canvas.inside(body), canvas.soft), 0.25)
    canvas.fill(ramp(canvas.inside(body) - rng.uniform(0.06, 0.16), 0.03), 0.5)
    for _ in range(int(rng.integers(5, 10))):
        center = tuple(rng.uniform((-0.55, -0.35), (0.55, 0.25)))
        canvas.ellipse(rng.uniform(0.1, 0.8), center, *rng.uniform(0.06, 0.26, 2), rng.uniform(0, 180), soft=0.03)
    canvas.ellipse(0.95, (0, 0.34), 0.12, 0.1)
    canvas.ellipse(0.4, (0, 0.43), 0.05, 0.04)
    return canvas.pixels


def hand(canvas: Canvas) -> np.ndarray:
    """Five rays of short bones."""
    rng = canvas.rng
    fingers = []
    for angle, length in zip(np.deg2rad([150, 115, 95, 75, 58]), (0.75, 1.0, 1.1, 1.02, 0.85), strict=True):
        tip = length * np.array([0.8 * np.cos(angle), -1.25 * np.sin(angle)])
        fingers.append([(0.0, 0.55) + share * tip for share in (0.25, 0.55, 0.8, 1.0)])
    for joints in fingers:
        canvas.stroke(0.3, [(0.0, 0.55), *joints], 0.2, soft=0.04)
    canvas.stroke(0.3, [(0, 0.5), (0.02, 1.1)], 0.42, soft=0.04)
    for joints in fingers:
        for start, end in zip(joints[:-1], joints[1:], strict=True):
            gap = 0.06 * (end - start)
            canvas.stroke(0.9, [start + gap, end - gap], 0.075)
    canvas.stroke(0.75, [(0, 0.5), (0.02, 1.1)], 0.22, soft=0.04)
    return canvas.pixels * (1 + 0.08 * canvas.noise(rng.uniform(8, 30)))


def text_page(canvas: Canvas) -> np.ndarray:
    """Dark words on a light page, or the other way round."""
    rng, size = canvas.rng, canvas.size
    page = Image.new("L", (size, size), 240)
    draw = ImageDraw.Draw(page)
    letters = list("abcdefghilmnoprstuv    ")
    for y in range(size // 16, size - size // 16, max(8, size // int(rng.integers(14, 24)))):
        draw.text(
            (size // 14, y), "".join(rng.choice(letters, int(rng.integers(10, 44)))), fill=int(rng.integers(0, 90))
        )
    pixels = np.asarray(page, dtype=np.float32) / 255
    return pixels if rng.random() < 0.8 else 1 - pixels


def scenery(canvas: Canvas) -> np.ndarray:
    """Sky, hills and blobs: a photograph turned gray."""
    rng = canvas.rng
    pixels = 0.75 - 0.2 * canvas.y + 0.08 * canvas.noise(4)
    for layer in range(4):
        horizon = -0.2 + 0.3 * layer + 0.18 * canvas.noise(3 + 2 * layer)[:1]
        pixels = np.where(canvas.y > horizon, rng.uniform(0.1, 0.6) + (0.04 + 0.03 * layer) * canvas.noise(30), pixels)
    canvas.pixels = pixels.astype(np.float32)
    for _ in range(int(rng.integers(0, 5))):
        canvas.ellipse(rng.uniform(0, 1), tuple(rng.uniform(-0.8, 0.8, 2)), *rng.uniform(0.05, 0.3, 2), soft=0.03)
    return canvas.pixels


def texture(canvas: Canvas) -> np.ndarray:
    """Cloudy noise of several scales that fills the image."""
    rng = canvas.rng
    layers = sum(canvas.noise(cells) / cells ** rng.uniform(0.2, 0.8) for cells in (3, 7, 15, 31))
    return 0.5 + layers / (3 * layers.std()) * rng.uniform(0.3, 1)


def shapes(canvas: Canvas) -> np.ndarray:
    """Boxes and disks on an even ground: a drawing or a screenshot."""
    rng, size = canvas.rng, canvas.size
    page = Image.new("L", (size, size), int(rng.integers(0, 256)))
    draw = ImageDraw.Draw(page)
    for _ in range(int(rng.integers(3, 14))):
        left, top = rng.uniform(0, 0.8 * size, 2)
        box = (left, top, left + rng.uniform(0.05, 0.4) * size, top + rng.uniform(0.05, 0.4) * size)
        (draw.rectangle if rng.random() < 0.6 else draw.ellipse)(box, fill=int(rng.integers(0, 256)))
    return np.asarray(page.filter(ImageFilter.GaussianBlur(rng.uniform(0, 2))), dtype=np.float32) / 255


def gradient(canvas: Canvas) -> np.ndarray:
    """From dark to bright across the image."""
    angle = canvas.rng.uniform(0, 2 * np.pi)
    return 0.5 + 0.35 * (canvas.x * np.cos(angle) + canvas.y * np.sin(angle))


def static(canvas: Canvas) -> np.ndarray:
    """Nothing but noise."""
    return canvas.rng.random((canvas.size, canvas.size)) * canvas.rng.uniform(0.4, 1)


def blank(canvas: Canvas) -> np.ndarray:
    """One gray."""
    return np.full((canvas.size, canvas.size), canvas.rng.uniform(0, 1))


def stripes(canvas: Canvas) -> np.ndarray:
    """Regular waves, bent: cloth, bricks, interference."""
    rng = canvas.rng
    bend = resized(rng.standard_normal((4, 4)), canvas.size)
    return 0.5 + 0.4 * np.sin(
        rng.uniform(10, 60) * canvas.x + rng.uniform(-40, 40) * canvas.y + rng.uniform(0, 6) * bend
    )


KINDS = (knee, chest, abdomen, hand, text_page, scenery, texture, shapes, gradient, static, blank, stripes)
