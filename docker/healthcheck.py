"""Exit with 0 if the shim of this container is ready, else with 1 and the reason."""

import os
import ssl
import sys
import urllib.request

port = os.environ.get("AEOLUS_PORT", "8000")
scheme = "https" if os.environ.get("AEOLUS_TLS_CERTIFICATE") else "http"
# The certificate is for the name that clients use, not for the loopback address.
context = ssl._create_unverified_context()  # noqa: S323
try:
    urllib.request.urlopen(  # noqa: S310
        f"{scheme}://127.0.0.1:{port}/health/ready", timeout=4, context=context
    )
except OSError as error:
    sys.exit(str(error))
