"""The API keeps to its OpenAPI document: calls made from it break nothing and get no answer that it does not tell."""

import os
from collections.abc import Iterator
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from api.settings import ApiSettings
from broker.settings import BrokerSettings
from tests.support.api import Api, bearer

EXAMPLES: Final = int(os.environ.get("PCS_OPENAPI_EXAMPLES", "12"))
"""Calls of each route, for each kind: as the document has it, and against it."""
CHECKS: Final = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
]  # fmt: skip
BEFORE_A_ROUTE: Final = (b"Invalid HTTP request received.", b"The headers are too large.")
"""What is refused of an address of more than 64 KiB, which gets as far as no route."""
ENDLESS: Final = "GET /api/v1/events"
"""Its good answer does not end; its own tests play its bad calls."""
DOCUMENT: Final = create_app(ApiSettings(insecure_no_auth=True), BrokerSettings()).openapi()
SCHEMA: Final = schemathesis.openapi.from_dict(DOCUMENT)


def operations() -> Iterator[Any]:
    for found in SCHEMA.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]  # a document that cannot be read fails here
        if operation.label == ENDLESS:
            continue
        yield pytest.param(operation, id=operation.label)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fit", "unfit"])
@pytest.mark.parametrize("operation", list(operations()))
def test_no_call_breaks_the_server_or_gets_an_answer_that_is_not_told_of(
    bare_api: Api, operation: Any, mode: GenerationMode
) -> None:
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters):
        pytest.skip("takes nothing that could be unfit")

    declared = {parameter.name for parameter in operation.headers}

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(data=st.data())
    def play(data: st.DataObject) -> None:
        case: Case[Any] = data.draw(operation.as_strategy(generation_mode=mode))
        # Headers that no route reads: an ill-formed one is refused by the HTTP parser, before there is a route.
        read = {name: value for name, value in case.headers.items() if name in declared}
        case.headers = type(case.headers)(read)
        answer = case.call(base_url=bare_api.url, headers=bearer(bare_api.admin), timeout=20)
        if answer.content in BEFORE_A_ROUTE:
            assert len(str(answer.request.url)) > 64 * 1024
            return
        case.validate_response(answer, checks=CHECKS)

    play()
    bare_api.check_log()
