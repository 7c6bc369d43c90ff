"""What the OpenAPI document says, held against the server by schemathesis: requests that it allows and some that it
does not, made from a fixed seed. Each answer must be one that the document tells of: status, media type, schema."""

from functools import partial

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from openapi_server import CT, INSTANCES

# Names of parameters to values with which requests meet what the server holds.
KNOWN = {
    "study": CT.StudyInstanceUID, "series": CT.SeriesInstanceUID, "instance": CT.SOPInstanceUID, "frames": "1",
    "path": "7FE00010", "objectUID": CT.SOPInstanceUID, "requestType": "WADO", "PatientName": "Doe*",
    "StudyDate": "20240101-20241231", "ModalitiesInStudy": "CT", "includefield": ["StudyDescription"],
    "window": "40,400", "viewport": "8,8",
}
# The same requests in every run, and few enough for a minute.
BOUNDED = settings(max_examples=8, derandomize=True, database=None, deadline=None,
                   phases=(Phase.generate,), suppress_health_check=list(HealthCheck))

# What schemas cannot say, such as which keywords and dates there are, is refused although they allow it; and what they
# forbid is passed over where PS3.18 and clients want that, such as parameters that a resource does not know.
NOT_TRUE = [positive_data_acceptance, negative_data_rejection]

# Its answer does not end; tests/pacs listens to it.
ENDLESS = "GET /api/v1/events"

BOUNDARY = "XX"


def multipart(media_type: str, content: bytes) -> bytes:
    return f"--{BOUNDARY}\r\nContent-Type: {media_type}\r\n\r\n".encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


# What can be stored, and what looks like it.
CONTENTS = {
    "application/dicom": st.sampled_from(INSTANCES) | st.binary(max_size=200),
    "application/dicom+json": st.sampled_from([CT.to_json().encode(), b"[]", b"{", b'[{"00080018":{"vr":"UI"}}]']),
    "application/dicom+xml": st.sampled_from([b"<NativeDicomModel/>", b"<a>", b"\xff"]),
}
for media_type, contents in CONTENTS.items():
    schemathesis.openapi.media_type(f'multipart/related; type="{media_type}"',
                                    st.binary(max_size=50) | contents.map(partial(multipart, media_type)))
    if media_type != "application/dicom+json":  # has a schema
        schemathesis.openapi.media_type(media_type, contents)


@pytest.fixture(scope="module")
def schema(described):
    config = SchemathesisConfig.from_dict({"seed": 1, "base-url": described.server.base})
    return schemathesis.openapi.from_dict(described.document, config=config)


def test_answers_are_as_the_document_says(described, schema, subtests):
    operations = {operation.label: operation for operation in (found.ok() for found in schema.get_all_operations())}
    del operations[ENDLESS]
    for operation in operations.values():
        with subtests.test(operation.label):
            hold_against_the_server(operation, described)


def hold_against_the_server(operation, described):
    wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
    right = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)

    @BOUNDED
    @given(case=right | wrong if has_input(operation) else right, known=st.booleans())
    def hold(case, known):
        if known:
            meet_what_is_there(case)
        headers = dict(described.admin)
        if case.media_type and case.media_type.startswith("multipart/"):
            headers["Content-Type"] = f"{case.media_type}; boundary={BOUNDARY}"
        response = case.call(headers=headers, timeout=30)
        case.validate_response(response, headers=headers, excluded_checks=NOT_TRUE)
        if case.method == "DELETE" and response.status_code == 204:
            described.store()

    hold()


def has_input(operation) -> bool:
    """Whether there is anything in a request that could be wrong."""
    return bool(operation.path_parameters or operation.query or operation.body)


def meet_what_is_there(case) -> None:
    """Has the request name what the server holds."""
    for parameters in (case.path_parameters, case.query):
        for name in set(parameters or ()) & set(KNOWN):
            parameters[name] = KNOWN[name]
