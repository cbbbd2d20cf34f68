"""What can go wrong in the model code; the text of each error is a sentence for the user."""


class MLError(Exception):
    """A prediction or a training could not be carried out. `str(error)` says why."""


class BundleError(MLError):
    """A model bundle is missing, damaged, or not what it is said to be."""


class DatasetError(MLError):
    """A training data folder cannot be used as it is."""
