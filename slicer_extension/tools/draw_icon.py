"""Draws the extension's icon: `python tools/draw_icon.py` in this folder. Needs Pillow."""

from pathlib import Path

from PIL import Image, ImageDraw

SIZE, FINER = 128, 4
BODY, ORGAN, MEMORY, DARK = (62, 74, 92), (230, 159, 0), (86, 180, 233), (22, 27, 34)


def ellipse(draw: ImageDraw.ImageDraw, centre, radii, colour, width=0):
    box = [FINER * (c + sign * r) for sign in (-1, 1) for c, r in zip(centre, radii)]
    draw.ellipse(box, outline=colour if width else None, fill=None if width else colour, width=FINER * width)


def icon() -> Image.Image:
    """A slice with an organ, and behind it the outlines of the cases that are remembered."""
    picture = Image.new("RGBA", (SIZE * FINER, SIZE * FINER), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle([0, 0, SIZE * FINER - 1, SIZE * FINER - 1], radius=24 * FINER, fill=DARK)
    for step, shade in ((16, 0.35), (8, 0.65)):
        ellipse(draw, (58 + step, 72 - step), (42, 34), tuple(int(shade * one) for one in MEMORY), 3)
    ellipse(draw, (58, 72), (42, 34), BODY)
    ellipse(draw, (48, 68), (20, 17), ORGAN)
    ellipse(draw, (80, 80), (8, 9), MEMORY)
    return picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    here = Path(__file__).resolve().parent.parent
    for path in (here / "Engram.png", here / "Engram" / "Resources" / "Icons" / "Engram.png"):
        icon().save(path, optimize=True)
