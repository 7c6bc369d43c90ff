"""What the OpenAPI document says, held against the server by schemathesis: requests that it allows and some that it does
not, made from a fixed seed. Each answer must be one that the document tells of: status, media type, schema."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig

from openapi_server import CT, INSTANCES

# Names of parameters to values with which requests meet what the server holds.
KNOWN = {
    "study": CT.StudyInstanceUID, "series": CT.SeriesInstanceUID, "instance": CT.SOPInstanceUID, "frames": "1",
    "path": "7FE00010", "objectUID": CT.SOPInstanceUID, "requestType": "WADO", "PatientName": "Doe*",
    "StudyDate": "20240101-20241231", "ModalitiesInStudy": "CT", "includefield": ["StudyDescription"],
    "window": "40,400", "viewport": "8,8",
}
# Seeds, time and number of requests are bounded here.
BOUNDED = settings(max_examples=12, derandomize=True, database=None, deadline=None,
                   phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck))

schemathesis.openapi.media_type("application/dicom", st.sampled_from(INSTANCES) | st.binary(max_size=200))


@pytest.fixture(scope="module")
def document(described):
    """The document with examples of what the server holds."""
    raw = described.document
    for name, value in KNOWN.items():
        raw["components"]["parameters"][name]["example"] = value
    config = SchemathesisConfig.from_dict({"seed": 1, "base-url": described.server.base})
    return schemathesis.openapi.from_dict(raw, config=config)


schema = schemathesis.pytest.from_fixture("document")


@schema.parametrize()
@BOUNDED
def test_answers_are_as_the_document_says(case, described):
    response = case.call(headers=described.admin, timeout=30)
    case.validate_response(response, headers=described.admin)
    if case.method == "DELETE" and response.status_code == 204:
        described.store()
