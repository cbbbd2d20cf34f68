"""What nobody may do in the administration."""


def never(self, request, obj=None):
    # What was read, put into service or trained is never edited, only added to by services.
    return False
