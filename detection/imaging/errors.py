"""What can go wrong with an image file; the text of the error is a sentence for the user."""


class ImageError(Exception):
    """A file cannot be used as a CT image. `str(error)` says what is wrong and what to do."""
