"""Fields of request bodies that hold a cron expression or a time zone."""

from collections.abc import Callable
from typing import Annotated, LiteralString

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from control_plane.core.cron import CronError, normal_cron, normal_timezone


def _field(code: LiteralString, normal: Callable[[str], str]) -> AfterValidator:
    def validate(text: str) -> str:
        try:
            return normal(text)
        except CronError as error:
            raise PydanticCustomError(code, "{reason}", {"reason": str(error)}) from None

    return AfterValidator(validate)


Cron = Annotated[str, _field("cron", normal_cron)]
Timezone = Annotated[str, _field("timezone", normal_timezone)]
