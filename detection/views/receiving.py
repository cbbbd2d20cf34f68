"""Receiving files: a disk that cannot take them ends the upload with a sentence."""

import logging
from contextlib import suppress
from typing import Any, NoReturn

from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import StopUpload, TemporaryFileUploadHandler

from detection.services.faults import fault_name
from detection.services.space import not_stored, space_check

logger = logging.getLogger(__name__)


class ReceivingHandler(TemporaryFileUploadHandler):
    """Writes each file of a request to the disk as it comes.

    Where there is no room for the request, or the disk fails, the rest of it is read and thrown
    away. `request.receiving_error` then says why, for the view.
    """

    request_bytes = 0
    is_checked = False

    def handle_raw_input(
        self, input_data: Any, META: Any, content_length: int, boundary: Any, encoding: Any = None
    ) -> None:
        self.request_bytes = content_length

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        if not self.is_checked:
            self.is_checked = True
            try:
                space_check(size_bytes=self.request_bytes, is_received=False)
            except ValidationError as error:
                self._stop(error)
        try:
            super().new_file(*args, **kwargs)
        except OSError as error:
            self._fail(error)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        try:
            super().receive_data_chunk(raw_data, start)
        except OSError as error:
            self._fail(error)

    def file_complete(self, file_size: int) -> "UploadedFile[Any] | None":
        try:
            # This writes what the buffer holds.
            return super().file_complete(file_size)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> NoReturn:
        logger.error("files not received", extra={"fault": fault_name(error)}, exc_info=error)
        # Closing writes what the buffer holds, and fails again.
        with suppress(OSError, AttributeError):
            self.file.close()
        self._stop(not_stored(error))

    def _stop(self, error: ValidationError) -> NoReturn:
        assert self.request is not None
        self.request.receiving_error = error  # type: ignore[attr-defined]
        # The sender gets the page only after all has been read.
        raise StopUpload(connection_reset=False)
