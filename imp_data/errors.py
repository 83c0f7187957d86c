"""The one error a user sees: where it happened, what is wrong, what to do."""

from imp_data.redaction import redacted

# The remedy for a damaged file. Whoever put it there keeps it: the build writes over no file of its
# own accord that it did not write.
ANEW = (
    "move it elsewhere and run the same command again, which fetches what has an address; download "
    "again by hand what has none"
)


class UserError(Exception):
    """Something a person must mend: printed without a traceback, with exit status 1.

    Credentials in its three texts are hidden, wherever these come from.
    """

    def __init__(self, where: object, problem: str, remedy: str) -> None:
        self.where, self.problem, self.remedy = map(redacted, (str(where), problem, remedy))
        super().__init__(f"{self.where}: {self.problem}\n  What to do: {self.remedy}")

    def as_dict(self) -> dict[str, str]:
        """Return the three texts by name, as another process receives them in JSON."""
        return {"where": self.where, "problem": self.problem, "remedy": self.remedy}
