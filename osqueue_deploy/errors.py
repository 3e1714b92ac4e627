"""What can go wrong with a deployment."""


class DeployError(Exception):
    """A deployment cannot go on. The message names the resource or the setting; `hint` says the way out."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class BadStage(DeployError):
    """A setting of the stage is not allowed; nothing was looked at or changed."""


class Denied(DeployError):
    """There are no credentials, or they do not allow it."""


class Failed(DeployError):
    """AWS refused or could not make something."""
