"""The WSGI application that gunicorn serves."""

import logging
import os
import resource

from django.core.wsgi import get_wsgi_application
from django.db import Error

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kidneyweb.settings")

# Each file of an upload is an open file until the request ends, and a series has thousands.
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

application = get_wsgi_application()

# Models can be imported only now.
from detection.services.media import media_prepare  # noqa: E402

try:
    media_prepare()
except (OSError, Error):
    # Uploads are not taken then; the pages say why.
    logging.getLogger(__name__).exception("disk of the images not prepared")
