"""The public client, and a series stored with it."""

import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset

from small_ct import make_ct


@pytest.fixture
def client(server) -> DICOMwebClient:
    return DICOMwebClient(url=server.dicomweb)


@pytest.fixture(scope="module")
def stored(server) -> list[Dataset]:
    """Five slices of one series, stored in the module's server."""
    slices = [make_ct(number) for number in range(1, 6)]
    DICOMwebClient(url=server.dicomweb).store_instances(slices)
    return slices
