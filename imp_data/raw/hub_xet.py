"""Stream the missing bytes of a file from the Hub's Xet storage."""

from collections.abc import Iterator
from typing import Any

from imp_data.raw.http_response import RetryableError
from imp_data.raw.hub_client import hub_token


def xet_is_available() -> bool:
    """Return whether hf_xet is installed and HF_HUB_DISABLE_XET is not set."""
    from huggingface_hub.utils._runtime import is_xet_available

    return bool(is_xet_available())


def xet_blocks(xet: Any, size: int, begin: int) -> Iterator[bytes]:
    """Yield the bytes of a file of `size` bytes from `begin` on; hf_xet requests several at once.

    `xet` is the XetFileData of huggingface_hub. Raise RetryableError for any error of the storage.
    """
    from hf_xet import XetFileInfo
    from huggingface_hub.utils import _xet
    from huggingface_hub.utils._headers import build_hf_headers

    client: Any = _xet  # without types
    headers = build_hf_headers(token=hub_token() or False)
    without_token = client.xet_headers_without_auth(headers)
    connect, session = client.refresh_xet_connection_info, client.get_xet_session()
    try:
        access = connect(file_data=xet, headers=headers)
        with session.new_download_stream_group(
            endpoint=access.endpoint,
            token=access.access_token,
            token_expiry_unix_secs=access.expiration_unix_epoch,
            token_refresh_url=xet.refresh_route,
            token_refresh_headers=headers,
            custom_headers=without_token,
        ) as group:
            yield from group.download_stream(XetFileInfo(xet.file_hash, size), start=begin or None)
    # hf_xet documents no base class of its errors; the plain download that follows tells more.
    except Exception as error:
        raise RetryableError(f"Xet storage fails: {error}", pause_seconds=0) from error
