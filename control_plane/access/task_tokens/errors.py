"""What is wrong with a task token."""

from control_plane.core.errors import Unauthorized


class TaskTokenUsed(Unauthorized):
    """It was redeemed before: the answer to that may have been lost on its way."""

    code = "task_token_used"
    title = "Task token was used"

    def __init__(self) -> None:
        super().__init__("The task token was used already.")
