"""What goes wrong: one exception, in the shape that the server's API has for every error."""


class EngramError(Exception):
    """What could not be done.

    `code` is a word for programs, `message` says what happened and `what_to_do` what helps. Those of the server's own
    errors are passed on word by word (docs/api.md).
    """

    def __init__(self, code: str, message: str, what_to_do: str = ""):
        super().__init__(message)
        self.code = code
        self.message = message
        self.what_to_do = what_to_do

    def __str__(self) -> str:
        return f"{self.message}\n{self.what_to_do}" if self.what_to_do else self.message


class ConnectionLost(EngramError):
    """No answer came: the server is down, or the network is. What was asked for may be asked again."""


class Cancelled(EngramError):
    """The user ended it."""

    def __init__(self):
        super().__init__("cancelled", "It was cancelled.")
