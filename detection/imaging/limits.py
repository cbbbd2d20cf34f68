"""How much of a machine one image file may use."""

from dataclasses import dataclass

_MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds on one file; the first three are checked before any pixel is decoded.

    Attributes
    ----------
    max_file_bytes : int
        Of the file as it lies on the disk.
    max_pixels : int
        Rows x columns. An 8K screen has 33 million, the largest CT matrix in use 4 million.
    max_inflated_bytes : int
        Of a DICOM data set that is compressed as a whole.
    seconds_per_file, cpu_seconds_per_file : float, int
        After which the decoding process is ended.
    memory_bytes : int
        Address space of the decoding process.
    max_written_bytes : int
        Of the volume file it writes.
    """

    max_file_bytes: int = 512 * _MIB
    max_pixels: int = 40_000_000
    max_inflated_bytes: int = 256 * _MIB
    seconds_per_file: float = 30.0
    cpu_seconds_per_file: int = 30
    memory_bytes: int = 1536 * _MIB
    max_written_bytes: int = 256 * _MIB

    def pixels_refusal(self, *, rows: int, columns: int) -> str:
        """Say why an image of this size is not decoded, in one sentence, or return ""."""
        if rows < 1 or columns < 1:
            return "The image has no pixels. Please export it again."
        if rows * columns > self.max_pixels:
            return (
                f"The image is too large ({columns} x {rows} pixels; at most "
                f"{self.max_pixels // 1_000_000} million pixels are read). "
                "Please upload the CT slice at its original size."
            )
        return ""


LIMITS = Limits()
