"""The picture for the documentation, which is taken when somebody wants it."""

import os
from pathlib import Path

from PIL import Image

from forms import as_read


def test_picture_for_the_documentation(made):
    picture = as_read(made.pictures("own")[4]).pixel_array
    Image.fromarray(picture).save(Path(os.environ["ENGRAM_PICTURES"]) / "secondary-capture.png", optimize=True)
