"""What is remembered between sessions, in Slicer's own settings (QSettings, handed in)."""

from typing import NamedTuple

DEFAULT_ADDRESS = "http://127.0.0.1:8080"


class Remembered(NamedTuple):
    """Address and token of the server, and who teaches. The token lies in Slicer's settings file as it is: docs/slicer.md says so."""

    address: str = DEFAULT_ADDRESS
    token: str = ""
    creator: str = ""
    quality: str = ""


def load(settings) -> Remembered:
    default = Remembered()
    return Remembered(*(str(settings.value(f"Engram/{name}", getattr(default, name)) or "") for name in Remembered._fields))


def save(settings, remembered: Remembered) -> None:
    for name, value in remembered._asdict().items():
        settings.setValue(f"Engram/{name}", value)
