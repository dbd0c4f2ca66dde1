import msgspec
import pytest

from bobbin_protocol.tasks import CustomSummary, DurationSummary, Workflow
from bobbin_protocol.wire import encode_json


@pytest.mark.parametrize("summary", [CustomSummary(title="Done", icon="check"), DurationSummary(duration=3)])
def test_either_summary_of_a_workflow_comes_back_as_its_type(
    summary: CustomSummary | DurationSummary,
) -> None:
    workflow = Workflow(type="reasoning", tasks=[], summary=summary)
    assert msgspec.json.decode(encode_json(workflow), type=Workflow) == workflow


@pytest.mark.parametrize("summary", [b"{}", b'{"title":3}', b'{"duration":"long"}', b'"short"'])
def test_a_summary_of_neither_kind_is_refused(summary: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"type":"custom","tasks":[],"summary":%b}' % summary, type=Workflow)
