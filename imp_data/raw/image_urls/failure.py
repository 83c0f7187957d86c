"""The error of one attempt to download an image."""

from imp_data.raw.image_urls.status import FailureReason
from imp_data.redaction import redact


class FetchError(Exception):
    """An attempt that brought no image: the reason, and how long the server asks to wait."""

    def __init__(
        self,
        reason: FailureReason,
        detail: str = "",
        http_status: int | None = None,
        pause_seconds: float | None = None,
        bytes_announced: int | None = None,
    ) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason, self.detail, self.http_status = reason, redact(detail), http_status
        self.pause_seconds, self.bytes_announced = pause_seconds, bytes_announced
        self.final_url: str | None = None
