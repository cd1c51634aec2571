"""What counts as an e-mail address, wherever one is taken: the same account in any letter case."""

from typing import Annotated

from pydantic import AfterValidator, EmailStr

Email = Annotated[EmailStr, AfterValidator(str.lower)]
