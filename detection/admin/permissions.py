"""The permission that nobody has in the administration."""


def never(self, request, obj=None):
    # Readings, activations and looks are never edited here; only services add to them.
    return False
