"""The page in a browser: where one goes on it, what it shows, and what went wrong meanwhile."""

import numpy as np
from playwright.sync_api import Locator, Page

PATIENCE_SECONDS = 60
# Of each pixel of the slice, the one of the overlay in its middle: whether it is drawn on, and its colour.
READ_OVERLAY = """([canvas, rows, columns]) => {
  const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const [down, across] = [height / rows, width / columns];
  return Array.from({ length: rows * columns }, (_, index) => {
    const row = Math.floor((Math.floor(index / columns) + 0.5) * down);
    const column = Math.floor((index % columns + 0.5) * across);
    return [...data.slice((row * width + column) * 4, (row * width + column) * 4 + 4)];
  });
}"""


class Visit:
    """A page of the server at `base`."""

    def __init__(self, page: Page, base: str):
        self.page, self.base = page, base
        self.wrong: list[str] = []
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}"))
        page.on("response", self._look_at)

    def _hear(self, said):
        # What `overlay` does is no fault of the page.
        if said.type in ("error", "warning") and "readback operations" not in said.text:
            self.wrong.append(said.text)

    def _look_at(self, response):
        if response.status >= 400:
            self.wrong.append(f"{response.status} {response.url}")
        if not response.url.startswith((f"{self.base}/", "blob:")):
            self.wrong.append(f"another host: {response.url}")

    def open(self, view: str = "studies") -> "Visit":
        """Opens a view by its address, as if the page were new."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.base}/#/{view}")
        self.there()
        return self

    def there(self, heading: str | None = None):
        """Waits until a view is there, of this heading."""
        self.page.locator("main:not([aria-busy]) h1", has_text=heading).wait_for()

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def link(self, name: str) -> Locator:
        return self.page.get_by_role("link", name=name, exact=True)

    def says(self, text: str):
        """Waits until this can be read."""
        self.page.get_by_text(text).first.wait_for()

    def counts(self, selector: str, number: int):
        """Waits until there are so many of these."""
        self.page.wait_for_function("([selector, number]) => document.querySelectorAll(selector).length === number",
                                    arg=[selector, number])

    @property
    def stage(self) -> Locator:
        return self.page.locator("#stage")

    def slice(self, number: int | None = None) -> int:
        """The slice on show, from 1, once it is drawn; of this number, if one is named."""
        self.page.wait_for_function(
            "wanted => { const { dataset, ariaValueNow: shown } = document.getElementById('stage') ?? {};"
            " return dataset?.drawn && dataset.drawn === shown && (wanted === null || Number(shown) === wanted); }",
            arg=number)
        return int(self.stage.get_attribute("aria-valuenow"))

    def overlay(self, rows: int, columns: int) -> np.ndarray:
        """What lies over the slice, on its grid: (rows, columns, 4), red, green, blue, alpha."""
        canvas = self.page.locator("canvas.overlay").element_handle()
        return np.array(self.page.evaluate(READ_OVERLAY, [canvas, rows, columns])).reshape(rows, columns, 4)
