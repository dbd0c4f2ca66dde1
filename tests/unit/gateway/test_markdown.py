"""What others wrote stays in its block."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from bobbin_gateway.markdown import fenced, unfenced

texts = st.text(st.sampled_from("`~a \n\r"), max_size=40)


@given(texts, st.sampled_from(["", "python", "json"]))
@example("```\n# Out\n```", "")
@example("", "")
def test_a_block_ends_where_we_end_it(text: str, language: str) -> None:
    block = fenced(text, language)
    fence = re.match(r"`+", block)
    assert fence is not None
    assert fence[0] not in text
    assert block.endswith(f"\n{fence[0]}")
    assert unfenced(block) == text
