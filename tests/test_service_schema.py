"""The OpenAPI document is true: schemathesis makes requests of it and holds the answers to it."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from service import limits
from service.api import create_api
from tests.regressions.valid import VALID

OPERATIONS = [("POST", "/predict"), ("GET", "/model"), ("GET", "/healthz"), ("GET", "/readyz")]


@pytest.fixture(scope="module")
def schema(served):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "BURST", 10**6)  # it asks faster than anybody may
        yield schemathesis.openapi.from_asgi("/openapi.json", create_api(served))


def test_nothing_is_left_out(schema):
    documented = [one.ok() for one in schema.get_all_operations()]
    assert sorted((one.method.upper(), one.path) for one in documented) == sorted(OPERATIONS)


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [*((*one, GenerationMode.POSITIVE) for one in OPERATIONS), ("POST", "/predict", GenerationMode.NEGATIVE)],
)
def test_every_answer_is_as_documented(schema, method, path, mode):
    operation = schema[path][method]

    @given(data=st.data())
    @settings(max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def hold_to_it(data):
        case = data.draw(operation.as_strategy(generation_mode=mode))
        case.call_and_validate(excluded_checks=[positive_data_acceptance])  # any bytes fit, but not all are a scan

    hold_to_it()


@pytest.mark.parametrize("name", ["PNG, 16 bits", "TIFF of pages"])
def test_every_scan_is_answered_as_documented(schema, name):
    files = {"files": [VALID[name]()]}
    case = schema["/predict"]["POST"].Case(body=files, media_type="multipart/form-data", query={"evidence": "true"})
    response = case.call_and_validate()
    assert response.status_code == 200 and response.json()[0]["slices"][0]["evidence"]
