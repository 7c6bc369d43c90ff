"""Reading what comes back: parts of a multipart answer, and pictures."""

import io

import numpy as np
from PIL import Image


def parts(answer) -> list[tuple[dict[str, str], bytes]]:
    """Headers (names in lower case) and content of each part of a `multipart/related` answer."""
    content_type = answer.headers["Content-Type"]
    assert content_type.startswith("multipart/related"), content_type
    boundary = content_type.split("boundary=")[1].strip('"').encode()
    preamble, *bodies, end = answer.content.split(b"--" + boundary)
    assert preamble.strip() == b"" and end.strip() == b"--"
    read = []
    for body in bodies:
        head, content = body.removeprefix(b"\r\n").split(b"\r\n\r\n", 1)
        headers = (line.split(":", 1) for line in head.decode().split("\r\n"))
        read.append(({name.lower(): value.strip() for name, value in headers}, content.removesuffix(b"\r\n")))
    return read


def picture(content: bytes, kind: str | None = None) -> np.ndarray:
    """The pixels of a picture: (rows, columns) for grey, (rows, columns, 3) for colour."""
    image = Image.open(io.BytesIO(content))
    assert kind is None or image.format == kind
    return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB")).astype(int)


def gif_frames(content: bytes) -> list[tuple[np.ndarray, int]]:
    """The frames of a GIF as (rows, columns, 3), and for how many milliseconds each stands."""
    image = Image.open(io.BytesIO(content))
    assert image.format == "GIF"
    frames = []
    for number in range(image.n_frames):
        image.seek(number)
        frames.append((np.asarray(image.convert("RGB")).astype(int), image.info.get("duration", 0)))
    return frames
