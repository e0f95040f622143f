"""`python -m jglue_app`."""

from jglue_app.cli import main

main()
