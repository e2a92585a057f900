"""An object store for the tests: moto's server on loopback, in a process of its own."""

import contextlib
import os
import subprocess
import sys
import urllib.request
from unittest.mock import patch

import pytest

KEYS = {"AWS_ACCESS_KEY_ID": "AKIATESTTESTTEST", "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-tests"}

_SERVE = """
import sys
from werkzeug.serving import make_server
from moto.server import DomainDispatcherApplication, create_backend_app
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
print(server.port, flush=True)
server.serve_forever()
"""


@contextlib.contextmanager
def bucket():
    """Starts the server, makes a bucket, and yields the environment of those who use it."""
    pytest.importorskip("moto", reason="needs moto[server]")
    boto3 = pytest.importorskip("boto3", reason="needs boto3")
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            port = server.stdout.readline().strip()
            if not port:
                pytest.skip("moto's server does not start here")
            url = f"http://127.0.0.1:{port}"
            environment = {
                **KEYS, "AWS_ENDPOINT": url, "AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true",
                "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "127.0.0.1",
                "AWS_EC2_METADATA_DISABLED": "true",
            }  # fmt: skip
            with patch.dict(os.environ, environment):
                boto3.client("s3").create_bucket(Bucket="bucket")
                yield environment
        finally:
            server.kill()


def keys_of(environment):
    """Returns the names of all objects in the bucket."""
    url = f"{environment['AWS_ENDPOINT_URL']}/bucket?list-type=2"
    with urllib.request.urlopen(url) as answer:
        return [part.partition("<")[0] for part in answer.read().decode().split("<Key>")[1:]]
