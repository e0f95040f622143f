"""The licences of what requirements.txt installs, and of the data and models: `python -m tests.licences`."""
