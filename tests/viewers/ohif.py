"""OHIF in a browser: what is done in it, what it shows, and what went wrong meanwhile."""

import base64
import io
import re
import time
from collections.abc import Callable

import numpy as np
import requests
from PIL import Image
from playwright.sync_api import Locator, Page

DRAWN_SECONDS = 120
# Of 255, between a pixel's highest and lowest channel: more is a colour.
COLOURED = 24


class Ohif:
    """A page of the viewer of the server at `base`."""

    def __init__(self, page: Page, base: str):
        self.page, self.base = page, base
        self.wrong: list[str] = []
        page.set_default_timeout(DRAWN_SECONDS * 1000)
        page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("requestfailed", lambda request: self.wrong.append(f"{request.url}: {request.failure}"))
        page.on("response", self._look_at)

    def _look_at(self, response):
        if response.status >= 400:
            self.wrong.append(f"{response.status} {response.url}")
        if not response.url.startswith((f"{self.base}/", "blob:", "data:")):
            self.wrong.append(f"another host: {response.url}")

    def open_list(self) -> str:
        """Opens the list of studies; its text, once there is one in it."""
        self.page.goto(f"{self.base}/viewer/")
        self.page.get_by_text(re.compile(r"^1-\d+ of \d+$")).wait_for()
        return self.page.inner_text("body")

    def open_study(self, study: str):
        """Opens a study, and sends away what OHIF says to newcomers."""
        self.page.goto(f"{self.base}/viewer/viewer?StudyInstanceUIDs={study}")
        self.page.get_by_text("Skip all").click()
        self.page.get_by_text("Confirm and hide").click()

    def open_series(self, description: str):
        """Opens what stands under this description in the list of the study's series."""
        self.page.get_by_text(description, exact=True).first.dblclick()

    @property
    def canvas(self) -> Locator:
        return self.page.locator('[data-cy="viewport-pane"] canvas.cornerstone-canvas').first

    def picture(self) -> np.ndarray:
        """What is drawn in the viewport: (rows, columns, 3)."""
        url = self.canvas.evaluate("canvas => canvas.toDataURL('image/png')")
        image = Image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1])))
        return np.asarray(image.convert("RGB")).astype(int)

    def drawn(self, is_there: Callable[[np.ndarray], bool]) -> np.ndarray:
        """The picture, once it has what it should and stands still."""
        deadline, before = time.monotonic() + DRAWN_SECONDS, None
        while time.monotonic() < deadline:
            now = self.picture() if self.canvas.count() else None
            if now is not None and before is not None and np.array_equal(now, before) and is_there(now):
                return now
            before = now
            self.page.wait_for_timeout(500)
        raise AssertionError(f"not drawn after {DRAWN_SECONDS} s; {self.wrong}")

    def instance_number(self) -> int:
        """InstanceNumber of the slice that is shown, as the viewport's corner tells it."""
        corner = self.page.locator('[data-cy="viewport-overlay-bottom-right"]').first.inner_text()
        return int(re.search(r"I:\s*(\d+)", corner)[1])


def has_content(picture: np.ndarray) -> bool:
    """Whether there is more than a ground of one colour."""
    return picture.std() > 5


def has_colour(picture: np.ndarray) -> bool:
    return coloured(picture).sum() > 100


def coloured(picture: np.ndarray) -> np.ndarray:
    """Where a picture is not grey."""
    return picture.max(axis=2) - picture.min(axis=2) > COLOURED


def placed(image: np.ndarray, rows: int, columns: int, by: Image.Resampling) -> np.ndarray:
    """An image of square pixels as a viewport of this size shows it: as large as it fits, in the middle, on black."""
    scale = min(rows / image.shape[0], columns / image.shape[1])
    height, width = (round(side * scale) for side in image.shape[:2])
    canvas = Image.new("F", (columns, rows))
    scaled = Image.fromarray(image.astype(np.float32)).resize((width, height), by)
    canvas.paste(scaled, ((columns - width) // 2, (rows - height) // 2))
    return np.asarray(canvas)


def rendered(url: str) -> np.ndarray:
    """The server's own picture of an instance: (rows, columns)."""
    answer = requests.get(f"{url}/rendered", headers={"Accept": "image/png"}, timeout=60)
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("L")).astype(float)
