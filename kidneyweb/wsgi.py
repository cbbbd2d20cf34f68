"""The WSGI application that gunicorn serves."""

import os
import resource

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kidneyweb.settings")

# Each file of an upload is an open file until the request ends, and a series has thousands.
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

application = get_wsgi_application()
