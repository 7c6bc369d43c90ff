"""Programs that tests need from the machine, a headless Chromium among them."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from serving import skip_or_fail

# WebGL by the processor; as root, which runs tests in a container, Chromium has no sandbox.
CHROMIUM_OPTIONS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def program(*names: str) -> str:
    """The path of the first of these programs that is installed.

    Not one of Python's environment: pynetdicom brings there an `echoscu` and a `storescp` that only share DCMTK's names.
    """
    own = os.path.join(sys.prefix, "bin") if sys.prefix != sys.base_prefix else None
    path = os.pathsep.join(folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder != own)
    found = next(filter(None, (shutil.which(name, path=path) for name in names)), None)
    return found or skip_or_fail(f"{names[0]} is not installed")


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program("chromium", "chromium-browser", "google-chrome"), args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()
