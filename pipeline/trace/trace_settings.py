"""The recipe's block of the index that passages are looked up in."""

from __future__ import annotations

from pydantic import Field

from pipeline.settings import Settings


class TraceSettings(Settings):
    """The index that `slm trace` looks passages up in (`trace_index`)."""

    enabled: bool = Field(
        True, description="make it in `full_job`: 6 bytes and about a millionth of a second of one core for each token"
    )
    loose: bool = Field(
        False,
        description="index the text once more, in lower case and with one blank for all white space between words, for"
        " `slm trace --loose`; twice the size",
    )
