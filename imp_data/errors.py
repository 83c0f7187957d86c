"""The error that users see: where it happened, the problem, the remedy."""

from imp_data.redaction import redact

# The remedy for a damaged raw file. The user moves it, because the build overwrites no file that it
# did not write.
REFETCH = (
    "move it elsewhere and run the same command again, which downloads files with a URL; download "
    "other files again manually"
)


class UserError(Exception):
    """A problem that the user must solve: printed without a traceback, with exit status 1.

    Credentials in its three texts are hidden.
    """

    def __init__(self, where: object, problem: str, remedy: str) -> None:
        self.where, self.problem, self.remedy = map(redact, (str(where), problem, remedy))
        super().__init__(f"{self.where}: {self.problem}\n  What to do: {self.remedy}")

    def as_dict(self) -> dict[str, str]:
        """Return the three texts by name, as another process receives them in JSON."""
        return {"where": self.where, "problem": self.problem, "remedy": self.remedy}
