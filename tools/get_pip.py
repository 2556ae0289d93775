"""Stands in for the get-pip.py that ansible-test downloads: the same result from Python's own ensurepip."""

import subprocess
import sys

subprocess.check_call([sys.executable, "-m", "ensurepip"])
options = [option for option in sys.argv[1:] if option not in ("--no-setuptools", "--no-wheel")]
subprocess.check_call([sys.executable, "-m", "pip", "install", *options])
