"""Bounds on what image files and uploads may use of a machine."""

from dataclasses import dataclass

_MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds on a file and on an upload, checked before anything is decoded where possible.

    Attributes
    ----------
    max_file_bytes : int
        Size of a file on the disk.
    max_pixels : int
        Rows x columns. An 8K screen has 33 million, the largest CT matrix in use 4 million.
    max_inflated_bytes : int
        Size, inflated, of a DICOM data set that is compressed as a whole.
    seconds_per_file, cpu_seconds_per_file : float, int
        Time for one file, after which the decoding process is ended.
    memory_bytes : int
        Address space of the decoding process; it is enforced on Linux only.
    max_written_bytes : int
        Size of a file that the decoding process writes.
    max_slices, max_voxels : int
        Size of one series. A scan of chest to pelvis at 0.6 mm has 1,200 slices and 315 million
        voxels.
    max_archive_bytes : int
        Size of a ZIP archive on the disk.
    max_files, max_total_bytes : int
        Number of files in the folders and archives of one upload, and size of those unpacked.
    max_depth : int
        Depth of archives within archives; folders within a folder may go eight times as deep.
    max_ratio : float
        Growth of a member of an archive, as a multiple of its packed size. An empty slice grows
        1,000 times, one with a body and noise 10 times at most; the first megabyte is not judged.
    seconds_per_job, cpu_seconds_per_job : float, int
        Time for unpacking an archive, and for reading a whole NIfTI volume. The wall-clock limit
        holds for each step that the job reports.
    """

    max_file_bytes: int = 512 * _MIB
    max_pixels: int = 40_000_000
    max_inflated_bytes: int = 256 * _MIB
    seconds_per_file: float = 30.0
    cpu_seconds_per_file: int = 30
    memory_bytes: int = 1536 * _MIB
    max_written_bytes: int = 1280 * _MIB
    max_slices: int = 3000
    max_voxels: int = 600_000_000
    max_archive_bytes: int = 4096 * _MIB
    max_files: int = 5000
    max_total_bytes: int = 4096 * _MIB
    max_depth: int = 3
    max_ratio: float = 200.0
    seconds_per_job: float = 180.0
    cpu_seconds_per_job: int = 180

    def pixels_refusal(self, *, rows: int, columns: int) -> str:
        """Return the sentence that refuses an image of this size, or "" if it may be decoded."""
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
