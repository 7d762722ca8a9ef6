"""The base classes of every block of a recipe: typed, frozen, and without unknown keys."""

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base of every block. Frozen, since a setting changed at run time would be missing from the fingerprint."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class StageSettings(Settings):
    """Base of the settings of a curation stage."""

    enabled: bool = Field(True, description="false: the stage keeps every document and reads no text")
