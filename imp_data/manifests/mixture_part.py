"""A source's part of a mixture."""

from typing import Annotated, Any

from pydantic import (
    ConfigDict,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from imp_data.manifests.base import StrictModel
from imp_data.manifests.fields import Count, Name
from imp_data.manifests.quotas import Quota
from imp_data.manifests.sources import ExpectedCounts


def is_none(value: Any) -> bool:
    """Return whether a field without a value is left out of a manifest's digest."""
    return value is None


class MixturePart(StrictModel):
    """One source's share of a mixture: a quota, or a weight of the mixture's `total`."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["quota"]}, {"required": ["weight"]}]}
    )

    source: Name
    weight: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, exclude_if=is_none, description="share of `total`; the weights sum to 1"
    )
    quota: Quota = Field(
        0,
        validate_default=True,
        exclude_if=lambda quota: quota == 0,
        description="number of Samples; `all` of them; a multiple such as `2x`, all of them twice; "
        "or one of these for each subset, whose other subsets give nothing",
    )
    paper: Count | None = Field(None, description="the paper's rounded count, for the card")
    group: str = Field(description="the paper's heading for it")
    expect: ExpectedCounts | None = Field(None, description="overrides `expect` of the source")

    @field_validator("quota", mode="wrap")
    @classmethod
    def _check_one_share(
        cls, quota: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        weighted = info.data.get("weight") is not None
        if type(quota) is not int or quota != 0:
            if weighted:
                raise ValueError("leave it out: the part has a weight")
            return validate(quota)
        if not weighted:
            raise ValueError("state a number from 1 on, all, or a multiple; or a weight instead")
        return quota
