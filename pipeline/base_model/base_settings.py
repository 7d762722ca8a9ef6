"""The recipe's block `base`: a downloaded model to start from."""

from __future__ import annotations

import os

from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipeline.settings import Settings


class Base(Settings):
    """A model from elsewhere, which takes the place of a pretrained model of one's own."""

    path: str | None = Field(
        None,
        description=(
            "folder of a model in Hugging Face's layout, relative to the recipe's folder: config.json, safetensors, and"
            " tokenizer.json or tokenizer.model"
        ),
    )
    hub: str | None = Field(
        None,
        pattern=r"^[\w.-]+/[\w.-]+$",
        description="owner/name of a model on the Hugging Face hub",
        examples=["HuggingFaceTB/SmolLM2-135M"],
    )
    revision: str | None = Field(None, description="hub only: branch, tag or commit; default main")
    license: str | None = Field(
        None, description="the model's licence, if its README.md does not state one, or states a wrong one"
    )

    @field_validator("path")
    @classmethod
    def _from_the_recipe(cls, path: str | None, info: ValidationInfo) -> str | None:
        """A relative path starts at the recipe's folder (`context["base"]`)."""
        folder = (info.context or {}).get("base")
        return path if path is None or folder is None else os.path.join(folder, os.path.expanduser(path))

    @model_validator(mode="after")
    def _one_place(self) -> Base:
        if (self.path is None) == (self.hub is None):
            raise ValueError("give either `path`, a folder, or `hub`, the name of a model on the Hugging Face hub")
        if self.revision is not None and self.hub is None:
            raise ValueError("`revision` is only read with `hub`")
        return self

    @property
    def title(self) -> str:
        """How sentences call it."""
        return f"`base`: {self.hub or self.path}"
