"""What a server must have learnt before it can segment."""

import patients
from engram_api import Api


def teach(api: Api):
    """Stores three annotated patients, and the images of a fourth."""
    for number in (1, 2, 3):
        api.store(*patients.images(number), patients.segmentation(number))
    api.store(*patients.images(4))
    api.settled()
