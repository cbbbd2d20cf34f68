"""How much of a machine image files and uploads may use."""

from dataclasses import dataclass

_MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds on a file and on an upload, checked before anything is decoded where possible.

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
    max_slices, max_voxels : int
        Of one series. A scan of chest to pelvis at 0.6 mm has 1,200 slices and 315 million voxels.
    max_archive_bytes : int
        Of a ZIP archive as it lies on the disk.
    max_files, max_total_bytes : int
        Of everything in the folders and archives of one upload, unpacked.
    max_depth : int
        Of archives within archives, and of folders within a folder times eight.
    max_ratio : float
        How many times its size a member of an archive may grow. An empty slice grows 1,000 times,
        one with a body and noise 10 times at most; the first megabyte is not judged.
    seconds_per_job, cpu_seconds_per_job : float, int
        For unpacking an archive and for reading a whole NIfTI volume.
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
