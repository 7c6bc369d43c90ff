"""Inside Slicer: the panel opens, and tells that no server is there. The rest is tested in Engram's `tests/slicer_extension`."""

import time
import unittest

import slicer


class EngramPanelTest(unittest.TestCase):
    def test_the_panel_opens_and_tells_that_the_server_is_down(self):
        slicer.app.userSettings().setValue("Engram/address", "http://127.0.0.1:9")
        widget = slicer.modules.engram.widgetRepresentation().self()
        widget.ui.retryButton.click()
        deadline = time.monotonic() + 20
        while "No server answers" not in widget.ui.healthText.text:
            self.assertLess(time.monotonic(), deadline, widget.ui.healthText.text)
            slicer.app.processEvents()
        self.assertFalse(widget.ui.segmentButton.enabled)
